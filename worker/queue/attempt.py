"""One attempt at one check: claim, read, examine, record or fail. The only place that chooses retry or quarantine."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from structlog.contextvars import bound_contextvars

from schema.examination import Examination, SourceVersion
from worker.detector.detector import CancellableScorer
from worker.errors import ErrorCode, SusyError, TransientError
from worker.log import get_logger
from worker.pipeline.examine import content_digest
from worker.queue.retry import AttemptStore, backoff
from worker.queue.runtime import Runtime
from worker.settings import Settings
from worker.sources.sources import shown
from worker.store import Claim, RecordOutcome

log = get_logger(__name__)

FIRST_RETRY_IN, LONGEST_RETRY_IN = 2.0, 600.0
"""Seconds until the second attempt, and the longest time between two attempts, before the jitter of `backoff`."""


def attempt(check_id: UUID, runtime: Runtime) -> None:
    """Bring the check to its verdict, its quarantine or its next attempt. No error of the image is raised.

    A message whose check is done, held by another worker or not due is a duplicate: nothing happens. A check whose
    deadline has passed ends as expired, unexamined. A check whose last attempt may have ended its process is attempted
    with no other in flight, so that it cannot end theirs (`docs/decisions/0008-poison.md`).
    """
    with bound_contextvars(check_id=str(check_id)):
        with runtime.isolation.read_lock():
            if _attempt(check_id, runtime, suspects=False):
                return
        if runtime.retrying_store.expire(check_id):
            log.info("check_expired")
        elif runtime.retrying_store.is_suspect(check_id):
            with runtime.isolation.write_lock():
                _attempt(check_id, runtime, suspects=True)


def _attempt(check_id: UUID, runtime: Runtime, *, suspects: bool) -> bool:
    """Claim the check, examine its image, record the verdict or the failure; False when there is nothing to claim."""
    claim = runtime.retrying_store.claim(check_id, suspects=suspects)
    if claim is None:
        return False
    if suspects:
        log.info("attempt_isolated", attempt=claim.attempt)
    with runtime.heartbeat.track(claim) as lease:
        store = runtime.retrying_store.of(claim, lease.pause)
        examiner = replace(runtime.examiner, scorer=CancellableScorer(runtime.detector, lease.lost))
        try:
            policy, policies = runtime.policies.choose(claim.policy, claim.source, claim.attributes)
            with examiner.memory.arriving() as received:
                fetched = runtime.sources.read(claim.uri, version_id=claim.version_id, received=received)
            digest = content_digest(fetched.content)
            examination = examiner.examine(
                fetched.content,
                policy,
                digest=digest,
                stored=store.find_scan(digest, examiner.scorer.identity, examiner.tiling),
                shadows=policies.shadows(policy, digest),
                cancelled=lease.lost,
                pause=lease.pause,
            )
            version = SourceVersion(fetched.etag, fetched.version_id)
            audit_rate = policies.audit_rate(policy, claim.source, digest)
            examination = replace(examination, source_version=version, audit_rate=audit_rate)
            outcome = store.record(examination)
        except SusyError as error:
            _fail(store, error, runtime.settings)
        except MemoryError as error:
            problem = TransientError(ErrorCode.OUT_OF_MEMORY, f"no memory for {shown(claim.uri)}: {error}")
            _fail(store, problem, runtime.settings)
        except Exception as error:
            log.exception("unexpected_failure")
            problem = TransientError(ErrorCode.UNEXPECTED, f"{type(error).__name__}: {error}")
            _fail(store, problem, runtime.settings)
        else:
            _log_outcome(claim, outcome, examination)
    return True


def _fail(store: AttemptStore, error: SusyError, settings: Settings) -> None:
    """End the attempt: schedule the next one after a transient failure, unless it was the last; else quarantine."""
    attempt_number, retry_in = store.claim.attempt, None
    if isinstance(error, TransientError) and attempt_number < settings.max_attempts:
        retry_in = backoff(attempt_number, first=FIRST_RETRY_IN, longest=LONGEST_RETRY_IN)
        if error.retry_after is not None:
            retry_in = max(retry_in, min(error.retry_after, LONGEST_RETRY_IN))
    if not store.fail(error, retry_in=retry_in):
        log.warning("lease_lost", attempt=attempt_number)
        return
    log.warning(
        "check_quarantined" if retry_in is None else "check_retry_scheduled",
        code=str(error.code),
        error=error.message,
        attempt=attempt_number,
        retry_in=retry_in,
    )


def _log_outcome(claim: Claim, outcome: RecordOutcome, examination: Examination) -> None:
    if outcome is RecordOutcome.LEASE_LOST:
        log.warning("lease_lost", attempt=claim.attempt)
        return
    log.info(
        "check_done",
        decision=str(examination.verdict.decision),
        score=examination.verdict.score,
        tiles_scored=int(examination.scan.scored.sum()),
        attempt=claim.attempt,
    )
