"""From a measurement to a decision.

Reading order: `policy` (rule and thresholds, from TOML), `aggregation` (tiles to one number), `rules` (what is asked,
in which order), `decide` (a pure function) and `explain` (what each rule found); then `configuration` (which versions
decide) and `selection` (which of them decides about a check).
"""
