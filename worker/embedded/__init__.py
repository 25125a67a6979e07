"""Real servers without an installation, for `susy up`, the demonstration and tests.

Reading order: `servers` (Postgres and Valkey from Python wheels), `folder` (where their data lies).
"""
