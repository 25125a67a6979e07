"""Commands about weights and labelled images.

Reading order: `weights`, `data` (labelled images), `train`, `evaluate`, `stability`, `calibrate` with
`calibrate_images`.
"""
