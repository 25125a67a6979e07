"""Figures of weights on labelled images.

Read `evaluate` (the whole evaluation), `scoring` and `items` (from images to rows), `detection`, `recognition` and
`calibration` (from rows to figures), then `tables` and `report`. `stability` is a study of its own.
"""
