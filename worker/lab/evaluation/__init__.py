"""How good weights are on labelled images: scores, variants, metrics, calibration, stability and their reports."""
