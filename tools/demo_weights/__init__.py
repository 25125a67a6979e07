"""Photographs rebuilt by real neural networks: the data set of the demo weights. Needs the extra `rebuild`."""
