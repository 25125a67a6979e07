"""Figures of weights on labelled images.

Reading order: `evaluate` (the whole evaluation), `scorer`, `alterations`, `scoring` and `items` (from images to rows),
`detection`, `recognition`, `calibration` and `precisions` (from rows to figures) with `bootstrap` (their intervals),
then `tables`, `report`, `charts` and `html` (what is written). `stability` and `stability_report` are a study of their
own.
"""
