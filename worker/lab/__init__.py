"""The detector's laboratory beside the service: labelled data sets, training, evaluation, calibration and stability."""
