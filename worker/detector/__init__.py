"""The SuSy network, its weights, its tiles, and the engine that runs it."""
