"""Labelled images.

Reading order: `entries` (labelled images, whatever the layout), `layouts` (opening a data set) and `parquet`, `checks`
(what may be wrong with it), `patches` (what training reads), then `parallel` and `shared_budget` (many images on all
cores, within the memory).
"""
