"""Training SuSy: the recipe, batches of augmented patches, the loop and its checkpoints."""
