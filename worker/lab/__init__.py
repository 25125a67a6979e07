"""The bench beside the service: labelled data sets, training, evaluation, calibration and stability of the detector."""
