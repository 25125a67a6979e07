"""The demo weights: photographs rebuilt by real neural networks, trained on and evaluated. Needs the extra `rebuild`.

Read `photographs`, `networks` and `build` (the data set), then `finish` (from trained weights to published figures).
"""
