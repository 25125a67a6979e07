"""How checks are submitted, published, attempted and reclaimed: Celery on Redis, with the ledger in Postgres.

Reading order:

1. `tasks`: what a message calls. `attempt`: the story of one check, from claim to verdict, retry or quarantine.
2. What an attempt relies on: `runtime` (everything a worker process has), `policies` (renewed while it works), `retry`
   (waiting for Postgres), `heartbeat` (leases and the hard deadline).
3. The worker process: `app` (start), `celery_app` (configuration), `consumer` (Celery's, with guards), `messages` (the
   envelope, and items that are not messages), `acknowledgement` (what Redis knows of the messages that a worker holds),
   `shutdown`, `health`.
4. The way into Redis: `publisher` (submit and publish), `dispatcher` (one lane's queue), `reconciler` (the loop).
"""
