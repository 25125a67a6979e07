"""The demo weights: photographs rebuilt by real neural networks, trained on and evaluated. Needs the extra `rebuild`.

Reading order: `photographs`, `networks` and `build` (the data set), `finish` (from trained weights to published
figures), then `samples` (the images of `susy demo`) and `thresholds` (the example of `docs/calibration.md`).
"""
