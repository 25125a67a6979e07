"""The detector's laboratory beside the service: data sets, training, evaluation, thresholds, and past decisions.

Reading order: `dataset`, then `training` or `evaluation`, which do not know each other, and `thresholds`; what a
policy decides about stored scans: `decide_again`, `backtest`, `cases` and `cases_scanned`, `apply_policy`,
`undo_application` and what these count, `flips`; `drift`
(whether what comes in has changed). `imaging` and `intervals` are shared.
"""
