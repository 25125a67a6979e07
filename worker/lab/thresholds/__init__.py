"""Thresholds of a policy from labelled scores: chosen on one half, measured on the other.

Reading order: `labelled` (scores with their labels, by content), `from_images` and `from_reviews` (where they come
from), `tail` (how many lie above every threshold), `goals` and `choose` (what is asked for, and the threshold that
follows), `measure` (the rates on the other half) and `calibrate` (all of it), then `policy_file`, `tables`, `charts`
and `report` (what is written).
"""
