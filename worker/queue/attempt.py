"""One attempt at one check: claim, examine, record. The only place that decides retry or quarantine."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from structlog.contextvars import bound_contextvars

from schema.examination import Examination, StoredScan
from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.log import get_logger
from worker.policy.policy import Policy
from worker.queue.retry import retry_while_unavailable
from worker.queue.runtime import Runtime
from worker.store import Claim, RecordOutcome

log = get_logger(__name__)

Answer = TypeVar("Answer")

FIRST_DELAY, LONGEST_DELAY = 2.0, 600.0
"""Seconds before the second attempt, and the bound of its doubling."""


def attempt(check_id: UUID, runtime: Runtime) -> None:
    """Bring the check to its verdict, its quarantine or its next attempt. Never raises for the image's sake.

    A message whose check is done, held by another worker or not due yet is a duplicate: nothing happens.
    A check whose last attempt may have ended its process is tried alone, so that it takes no neighbour with it.
    """
    with bound_contextvars(check_id=str(check_id)):
        with runtime.isolation.shared():
            claim = _claim(check_id, runtime, suspects=False)
            if claim is not None:
                _work(claim, runtime)
                return
        if not retry_while_unavailable(lambda: runtime.store.is_suspect(check_id)):
            log.debug("nothing_to_claim")
            return
        with runtime.isolation.exclusive():
            claim = _claim(check_id, runtime, suspects=True)
            if claim is not None:
                log.info("tried_alone", attempt=claim.attempt)
                _work(claim, runtime)


def _claim(check_id: UUID, runtime: Runtime, *, suspects: bool) -> Claim | None:
    settings = runtime.settings
    return retry_while_unavailable(
        lambda: runtime.store.claim(
            check_id,
            worker=runtime.name,
            lease=settings.lease,
            max_attempts=settings.max_attempts,
            suspects=suspects,
        )
    )


def _work(claim: Claim, runtime: Runtime) -> None:
    with runtime.heartbeat.track(claim):
        try:
            _record(claim, _examine(claim, _policy(claim, runtime), runtime), runtime)
        except SusyError as error:
            _fail(claim, error, runtime)
        except MemoryError as error:
            _fail(claim, TransientError(ErrorCode.OUT_OF_MEMORY, f"no memory for {claim.uri}: {error}"), runtime)
        except Exception as error:
            log.exception("unexpected_failure")
            _fail(claim, TransientError(ErrorCode.UNEXPECTED, f"{type(error).__name__}: {error}"), runtime)


def _ledger(claim: Claim, runtime: Runtime, call: Callable[[], Answer]) -> Answer:
    """Ask the ledger for as long as it takes: an attempt is not stuck because Postgres is away."""
    with runtime.heartbeat.pause(claim):
        return retry_while_unavailable(call)


def _policy(claim: Claim, runtime: Runtime) -> Policy:
    policy = runtime.policies.find(claim.policy)
    if policy is None:
        raise PermanentError(
            ErrorCode.UNKNOWN_POLICY,
            f"policy {claim.policy!r} is not in this worker's SUSY_POLICIES; add it there and retry the check",
        )
    return policy


def _examine(claim: Claim, policy: Policy, runtime: Runtime) -> Examination:
    weights, tiling = runtime.detector.identity.sha256, runtime.settings.grid

    def find_scan(content_sha256: str) -> StoredScan | None:
        return _ledger(claim, runtime, lambda: runtime.store.find_scan(content_sha256, weights, tiling))

    return runtime.examiner.examine_file(claim.uri, runtime.settings.roots, policy, find_scan)


def _record(claim: Claim, examination: Examination, runtime: Runtime) -> None:
    scan, verdict = examination.scan, examination.verdict
    outcome = _ledger(claim, runtime, lambda: runtime.store.record(claim, examination))
    if outcome is RecordOutcome.LEASE_LOST:
        log.warning("lease_lost", attempt=claim.attempt)
        return
    log.info(
        "check_done",
        decision=str(verdict.decision),
        score=verdict.score,
        tiles_scored=int(scan.scored.sum()),
        attempt=claim.attempt,
    )


def _fail(claim: Claim, error: SusyError, runtime: Runtime) -> None:
    retry_in = None
    if isinstance(error, TransientError) and claim.attempt < runtime.settings.max_attempts:
        retry_in = backoff(claim.attempt)
    kept = _ledger(
        claim,
        runtime,
        lambda: runtime.store.fail(claim, code=error.code, message=error.message, retry_in=retry_in),
    )
    if not kept:
        log.warning("lease_lost", attempt=claim.attempt)
        return
    log.warning(
        "check_quarantined" if retry_in is None else "check_postponed",
        code=str(error.code),
        error=error.message,
        attempt=claim.attempt,
        retry_in=retry_in,
    )


def backoff(attempt: int) -> float:
    """Seconds until the next attempt: doubling from 2 s up to 10 min, spread by a factor of 0.5 to 1.5.

    The spread keeps checks that failed together from coming back together.
    """
    doubled: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1))
    return doubled * random.uniform(0.5, 1.5)  # noqa: S311 (no secret depends on it)
