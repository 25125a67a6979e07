"""Training SuSy.

Reading order: `recipe` (what a run is told), `loop` (the whole run), `data`, `epoch`, `batches` with `augment` and
`resident` (where patches come from), `run` (state and checkpoint), `initial` (weights to begin with), `distributed`
(several processes), `logs` and `carbon` (what is reported).
"""
