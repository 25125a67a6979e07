"""Training SuSy: patches, augmentations, the loop, and the data and evaluation of the demo weights."""
