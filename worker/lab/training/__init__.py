"""Training SuSy. Read `recipe`, then `loop` (the whole run), `epoch`, `batches` and `run` (state and checkpoint)."""
