"""The way of submissions straight into the ledger, for hooks that may connect to Postgres and Redis."""

from __future__ import annotations

import os
from uuid import UUID

from schema.messages import Receipt, Submission
from schema.states import Decision
from worker.queue.publisher import Publisher, submit_check
from worker.settings import Settings
from worker.store import Store

REDIS_ANSWER_WITHIN = 2.0
"""Seconds that Redis may take to answer before a check is left to the reconciler, so that uploads do not wait."""


class LedgerConnection:
    """Postgres and Redis, as the client uses them; thread-safe."""

    def __init__(self, settings: Settings, *, pool_size: int) -> None:
        self._process_id = os.getpid()
        self._publisher = Publisher(settings, answer_within=REDIS_ANSWER_WITHIN)
        self._store = Store(settings.require_database_url(), pool_size=pool_size)

    def submit(self, submission: Submission) -> Receipt:
        """See `worker.queue.publisher.submit_check`."""
        return submit_check(submission, self._store, self._publisher)

    def add_review(self, check_id: UUID, reviewer: str, decision: Decision, note: str | None) -> None:
        """See `Store.add_review`."""
        self._store.add_review(check_id, reviewer=reviewer, decision=decision, note=note)

    def close(self) -> None:
        """Close the connections. In a process forked from the one that made them this does nothing."""
        if os.getpid() == self._process_id:
            self._store.close()
            self._publisher.close()
