"""One attempt at one check: what it leaves in the ledger."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from schema.messages import Submission
from schema.states import CheckState, Decision, Reason
from tests.support.waiting import eventually
from worker.errors import ErrorCode, TransientError
from worker.queue import attempt as attempt_module
from worker.queue.attempt import attempt
from worker.queue.heartbeat import LeaseHeartbeat
from worker.queue.retry import RetryingStore
from worker.queue.runtime import Runtime


def submitted(runtime: Runtime, uri: Path | str, **changes: object) -> UUID:
    submission = Submission.model_validate({"source": "test", "uri": str(uri), **changes})
    return runtime.store.submit(submission).check_id


def test_a_check_ends_in_one_verdict_with_its_map(runtime: Runtime, images: Path) -> None:
    check_id = submitted(runtime, images / "b.png")
    attempt(check_id, runtime)
    view = runtime.store.show(check_id)
    assert view.state is CheckState.DONE
    assert view.attempts == 1
    assert view.scan is not None
    assert (view.scan.width, view.scan.height) == (500, 300)
    assert view.verdict is not None
    assert view.map_png is not None
    assert view.verdict.score == pytest.approx(1 - view.verdict.class_scores["authentic"], abs=1e-3)


def test_a_second_message_for_a_done_check_changes_nothing(runtime: Runtime, images: Path) -> None:
    check_id = submitted(runtime, images / "a.png")
    attempt(check_id, runtime)
    first = runtime.store.show(check_id)
    attempt(check_id, runtime)
    second = runtime.store.show(check_id)
    assert (first.finished_at, first.attempts) == (second.finished_at, second.attempts)


def test_a_message_for_an_unknown_check_changes_nothing(runtime: Runtime) -> None:
    attempt(uuid4(), runtime)


def test_a_check_past_its_deadline_ends_without_reading_or_scoring_its_image(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.sources, "read", lambda *_, **__: pytest.fail("its image was read"))
    monkeypatch.setattr(runtime.detector, "score", lambda *_: pytest.fail("its image was scored"))
    late = submitted(runtime, images / "a.png", expires_at="2020-01-01T00:00:00Z")
    attempt(late, runtime)
    view = runtime.store.show(late)
    assert (view.state, view.attempts, view.verdict, view.error) == (CheckState.EXPIRED, 0, None, None)
    attempt(late, runtime)
    assert runtime.store.show(late).finished_at == view.finished_at


def test_a_check_within_its_deadline_is_examined(runtime: Runtime, images: Path) -> None:
    check_id = submitted(runtime, images / "a.png", expires_at=datetime.now(UTC) + timedelta(minutes=5))
    attempt(check_id, runtime)
    assert runtime.store.show(check_id).state is CheckState.DONE


def test_an_image_smaller_than_a_tile_is_inconclusive(runtime: Runtime, images: Path) -> None:
    check_id = submitted(runtime, images / "small.png")
    attempt(check_id, runtime)
    verdict = runtime.store.show(check_id).verdict
    assert verdict is not None
    assert verdict.decision is Decision.INCONCLUSIVE
    assert verdict.reasons == (Reason.TOO_SMALL,)


@pytest.mark.parametrize(
    ("name", "code"),
    [("absent.png", ErrorCode.NOT_FOUND), (".", ErrorCode.NOT_A_FILE), ("text.png", ErrorCode.UNSUPPORTED_FORMAT)],
)
def test_what_cannot_be_examined_is_quarantined_at_once(
    runtime: Runtime, images: Path, name: str, code: ErrorCode
) -> None:
    (images / "text.png").write_text("no image")
    check_id = submitted(runtime, images / name)
    attempt(check_id, runtime)
    view = runtime.store.show(check_id)
    assert view.state is CheckState.QUARANTINED
    assert view.error is not None
    assert view.error.code == code
    assert view.attempts == 1


def test_a_policy_this_worker_does_not_know_quarantines_the_check(runtime: Runtime, images: Path) -> None:
    check_id = submitted(runtime, images / "a.png", policy="unheard-of")
    attempt(check_id, runtime)
    error = runtime.store.show(check_id).error
    assert error is not None
    assert error.code == ErrorCode.UNKNOWN_POLICY
    assert "unheard-of" in error.message


def test_the_same_content_is_measured_once(runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[int] = []
    score = runtime.detector.score
    monkeypatch.setattr(
        runtime.detector, "score", lambda tiles, *more: (scored.append(len(tiles)), score(tiles, *more))[1]
    )
    (images / "copy.png").write_bytes((images / "a.png").read_bytes())
    first, second = submitted(runtime, images / "a.png"), submitted(runtime, images / "copy.png")
    attempt(first, runtime)
    measured = len(scored)
    attempt(second, runtime)
    assert len(scored) == measured > 0
    one, other = runtime.store.show(first).verdict, runtime.store.show(second).verdict
    assert one == other


def test_a_transient_failure_is_tried_again_later_and_quarantined_in_the_end(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise TransientError(ErrorCode.OUT_OF_MEMORY, "no memory right now")

    monkeypatch.setattr(runtime.detector, "score", failing)
    monkeypatch.setattr(attempt_module, "backoff", lambda *_, **__: 0.0)
    check_id = submitted(runtime, images / "a.png")
    for number in range(1, runtime.settings.max_attempts + 1):
        attempt(check_id, runtime)
        view = runtime.store.show(check_id)
        assert view.attempts == number
        last = number == runtime.settings.max_attempts
        assert view.state is (CheckState.QUARANTINED if last else CheckState.QUEUED)
    assert view.error is not None
    assert view.error.code == ErrorCode.OUT_OF_MEMORY


def test_an_unforeseen_failure_is_kept_with_its_type_and_does_not_escape(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(runtime.detector, "score", broken)
    check_id = submitted(runtime, images / "a.png")
    attempt(check_id, runtime)
    view = runtime.store.show(check_id)
    assert view.state is CheckState.QUEUED
    assert view.error is not None
    assert view.error.code == ErrorCode.UNEXPECTED
    assert "KeyError" in view.error.message


def test_the_lease_is_kept_while_a_slow_image_is_scored(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = runtime.detector.score
    monkeypatch.setattr(
        runtime.detector, "score", lambda *given: (time.sleep(2 * runtime.settings.lease_duration), score(*given))[1]
    )
    check_id = submitted(runtime, images / "a.png")
    working = threading.Thread(target=attempt, args=(check_id, runtime))
    working.start()
    time.sleep(1.5 * runtime.settings.lease_duration)
    assert runtime.store.reclaim_expired(max_attempts=5, limit=10).requeued == 0
    working.join()
    view = runtime.store.show(check_id)
    assert (view.state, view.attempts) == (CheckState.DONE, 1)


def test_a_worker_whose_lease_was_taken_over_writes_nothing(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_id = submitted(runtime, images / "a.png")
    score = runtime.detector.score

    def robbed(*given: Any) -> object:
        # While this attempt scores, its heartbeat has stopped and another worker takes the check over.
        runtime.heartbeat.stop()
        time.sleep(runtime.settings.lease_duration + 0.2)
        assert runtime.store.claim(check_id, worker="thief", lease=60, max_attempts=5) is not None
        return score(*given)

    monkeypatch.setattr(runtime.detector, "score", robbed)
    attempt(check_id, runtime)
    view = runtime.store.show(check_id)
    assert view.state is CheckState.RUNNING
    assert view.worker == "thief"
    assert view.verdict is None


def test_tiles_of_an_attempt_whose_lease_was_lost_do_not_reach_the_network(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_id = submitted(runtime, images / "a.png")
    score, dropped = runtime.detector.score, []

    def robbed(tiles: Any, cancelled: threading.Event) -> object:
        # In one statement, so that no heartbeat comes between the end of one lease and the begin of another.
        rob = "UPDATE susy.checks SET lease_token = gen_random_uuid(), worker = 'thief' WHERE id = %(id)s"
        assert runtime.store._database.execute(rob, {"id": check_id}) == 1
        assert cancelled.wait(5 * runtime.settings.heartbeat_interval), "the heartbeat notices at its next renewal"
        with pytest.raises(TransientError) as failed:
            score(tiles, cancelled)
        dropped.append(failed.value.code)
        raise failed.value

    monkeypatch.setattr(runtime.detector, "score", robbed)
    attempt(check_id, runtime)
    assert dropped == [ErrorCode.LEASE_LOST]
    view = runtime.store.show(check_id)
    assert (view.state, view.worker, view.error) == (CheckState.RUNNING, "thief", None)


def test_a_released_attempt_is_told_that_its_lease_is_lost(runtime: Runtime, images: Path) -> None:
    claim = runtime.store.claim(submitted(runtime, images / "a.png"), worker="w", lease=60, max_attempts=5)
    assert claim is not None
    with runtime.heartbeat.track(claim) as lease:
        assert not lease.lost.wait(2 * runtime.settings.heartbeat_interval)
        runtime.heartbeat.release_all()
        assert lease.lost.is_set()


@pytest.mark.parametrize("alive", ["absent/alive", "/dev/full/alive", "/proc/self/alive", "file/alive"])
def test_an_alive_file_that_cannot_be_touched_is_reported_once_and_the_deadline_is_watched_nevertheless(
    runtime: Runtime, images: Path, tmp_path: Path, alive: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    ended = threading.Event()
    changes = {"hard_deadline": 0.6, "heartbeat_interval": 0.1, "alive_file": tmp_path / alive}
    heartbeat = LeaseHeartbeat(runtime.store, runtime.settings.model_copy(update=changes), exit_process=ended.set)
    claim = runtime.store.claim(submitted(runtime, images / "a.png"), worker="w", lease=60, max_attempts=5)
    assert claim is not None
    with heartbeat.track(claim):
        assert ended.wait(10)
        heartbeat.stop()
    assert caplog.text.count("alive_file_failed") == 1


def test_a_stuck_attempt_is_handed_on_its_neighbours_are_given_back_and_the_process_ends(
    runtime: Runtime, images: Path
) -> None:
    ended = threading.Event()
    settings = runtime.settings.model_copy(update={"hard_deadline": 0.5, "heartbeat_interval": 0.1})
    heartbeat = LeaseHeartbeat(runtime.store, settings, exit_process=ended.set)
    claims = []
    for name in ("a.png", "b.png"):
        claim = runtime.store.claim(submitted(runtime, images / name), worker="w", lease=60, max_attempts=5)
        assert claim is not None
        claims.append(claim)
    stuck, neighbour = claims
    with heartbeat.track(stuck):
        time.sleep(0.3)
        with heartbeat.track(neighbour):
            assert ended.wait(5)
            heartbeat.stop()
    first, second = runtime.store.show(stuck.check_id), runtime.store.show(neighbour.check_id)
    assert (first.state, first.attempts) == (CheckState.QUEUED, 1)
    assert first.error is not None
    assert first.error.code == ErrorCode.DEADLINE_EXCEEDED
    assert (second.state, second.attempts) == (CheckState.QUEUED, 0), "a neighbour pays no attempt"


def test_a_check_that_may_have_killed_its_process_is_tried_alone(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspect = submitted(runtime, images / "a.png")
    assert runtime.store.claim(suspect, worker="died", lease=0.05, max_attempts=5) is not None
    time.sleep(0.1)
    assert runtime.store.claim(suspect, worker="w", lease=60, max_attempts=5, suspects=False) is None
    assert runtime.store.reclaim_expired(max_attempts=5, limit=10).requeued == 1
    assert runtime.store.claim(suspect, worker="w", lease=60, max_attempts=5, suspects=False) is None
    begun = threading.Event()
    score = runtime.detector.score
    monkeypatch.setattr(runtime.detector, "score", lambda *given: (begun.set(), score(*given))[1])
    with runtime.isolation.read_lock():
        working = threading.Thread(target=attempt, args=(suspect, runtime))
        working.start()
        assert not begun.wait(0.5), "while another is in flight it waits, unclaimed"
        assert runtime.store.show(suspect).attempts == 1
    working.join()
    view = runtime.store.show(suspect)
    assert (view.state, view.attempts) == (CheckState.DONE, 2)


def test_while_a_suspect_waits_to_be_alone_no_other_attempt_begins(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspect, other = submitted(runtime, images / "a.png"), submitted(runtime, images / "b.png")
    assert runtime.store.claim(suspect, worker="died", lease=0.05, max_attempts=5) is not None
    time.sleep(0.1)
    with runtime.isolation.read_lock():
        alone = threading.Thread(target=attempt, args=(suspect, runtime))
        alone.start()
        eventually(lambda: runtime.isolation.has_pending_writers)
        beside = threading.Thread(target=attempt, args=(other, runtime))
        beside.start()
        time.sleep(0.3)
        assert runtime.store.show(other).state is CheckState.QUEUED
    alone.join()
    beside.join()
    first, second = runtime.store.show(suspect), runtime.store.show(other)
    assert first.finished_at is not None
    assert second.started_at is not None
    assert first.finished_at <= second.started_at


def test_waiting_for_a_service_does_not_count_as_being_stuck(runtime: Runtime, images: Path) -> None:
    ended = threading.Event()
    settings = runtime.settings.model_copy(update={"hard_deadline": 0.5, "heartbeat_interval": 0.1})
    heartbeat = LeaseHeartbeat(runtime.store, settings, exit_process=ended.set)
    claim = runtime.store.claim(submitted(runtime, images / "a.png"), worker="w", lease=60, max_attempts=5)
    assert claim is not None
    with heartbeat.track(claim) as lease:
        with lease.pause():
            assert not ended.wait(1.5)
        assert ended.wait(5)
    heartbeat.stop()


def test_an_image_that_waits_for_memory_keeps_its_lease_and_is_not_stuck(runtime: Runtime, images: Path) -> None:
    ended = threading.Event()
    settings = runtime.settings.model_copy(update={"hard_deadline": 4.0, "heartbeat_interval": 0.1})
    heartbeat = LeaseHeartbeat(runtime.store, settings, exit_process=ended.set)
    store = RetryingStore(runtime.store, settings, worker="w")
    watched = replace(runtime, settings=settings, heartbeat=heartbeat, retrying_store=store)
    check_id = submitted(runtime, images / "a.png")
    working = threading.Thread(target=attempt, args=(check_id, watched))
    with runtime.examiner.memory.reserve(runtime.examiner.memory.capacity):
        working.start()
        assert not ended.wait(settings.hard_deadline + 0.5)
        assert runtime.store.reclaim_expired(max_attempts=5, limit=10).requeued == 0
    working.join()
    heartbeat.stop()
    view = runtime.store.show(check_id)
    assert (view.state, view.attempts) == (CheckState.DONE, 1)


@pytest.mark.parametrize("how", ["shutdown", "loss"])
def test_an_image_that_waits_for_memory_gives_up_when_its_lease_is_gone(
    runtime: Runtime, images: Path, how: str
) -> None:
    check_id = submitted(runtime, images / "a.png")
    working = threading.Thread(target=attempt, args=(check_id, runtime))
    with runtime.examiner.memory.reserve(runtime.examiner.memory.capacity):
        working.start()
        eventually(lambda: bool(runtime.heartbeat._in_flight()))  # which is later than what the ledger says
        if how == "shutdown":
            runtime.heartbeat.release_all()
        else:
            (tracked,) = runtime.heartbeat._in_flight()
            assert runtime.store.release(tracked.claim)
        working.join(10)
        assert not working.is_alive()
    view = runtime.store.show(check_id)
    assert (view.state, view.attempts, view.error) == (CheckState.QUEUED, 0, None)
