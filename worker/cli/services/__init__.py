"""Commands that run the services, and that set up what they need.

Reading order: `work` (worker, reconciler, deliverer), `serve`, `consume`; `up` and the `stack` that it runs; `db`,
`key`, `endpoint`, `callbacks`; `doctor`, `health` and `capacity`.
"""
