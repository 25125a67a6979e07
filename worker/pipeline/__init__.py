"""One image from bytes to an examination. Knows neither Celery nor Postgres.

Reading order: `examine` tells the whole story; `measure` lays, selects and scores tiles, and `signals` measures
evidence of how far scores can be trusted. They call `worker.intake` (bytes to pixels), `worker.detector` (tiles to
probabilities), `worker.localization` (probabilities to a map) and `worker.policy` (everything to a decision).
`overlay` draws a stored map over its image.
"""
