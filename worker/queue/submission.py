"""Accepting a submission: first the ledger, then, when its lane's queue is short, a message."""

from __future__ import annotations

from schema.messages import Submission
from worker.errors import TransientError
from worker.log import get_logger
from worker.queue.publisher import Publisher
from worker.store import Receipt, Store

log = get_logger(__name__)


def accept(submission: Submission, store: Store, publisher: Publisher) -> Receipt:
    """Write the check, then publish it if there is room. Once this returns, the check cannot be lost.

    Where many messages wait already, the check waits in the ledger for its source's turn, which the reconciler gives.

    The same `(source, external_id)` is accepted once; a repeat returns the check that exists.
    Raises `TransientError` (`database_unavailable`) or `PermanentError` (`conflict`); then nothing was accepted.
    """
    receipt = store.submit(submission)
    if receipt.created:
        try:
            if publisher.has_room(submission.lane):
                publisher.publish([receipt.check_id], submission.lane)
                store.mark_dispatched([receipt.check_id])
        except TransientError as error:
            # Accepted all the same: the reconciler publishes what was never dispatched.
            log.warning("publish_postponed", check_id=str(receipt.check_id), code=str(error.code), error=error.message)
    return receipt
