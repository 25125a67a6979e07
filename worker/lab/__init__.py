"""The detector's laboratory beside the service: labelled data sets, training, evaluation, calibration and stability.

Reading order: `dataset`, then `training` or `evaluation`, which do not know each other.
"""
