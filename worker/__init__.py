"""susy-worker: image checks from a queue, scored by SuSy, decided by a policy, kept in Postgres."""
