"""The ledger in Postgres: every check, scan, verdict and policy."""
