"""`susy backlog retry` and `cancel`: what is chosen, what is asked, and what becomes of it."""

from __future__ import annotations

import os
import pty
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from schema.states import CheckState, Lane
from tests.backlog.conftest import FILL, Sql, Susy
from tests.support.commands import Processes
from tests.support.ledger import backfill, claimed, done, submission
from worker.cli.checks.backlog_change import STEP
from worker.errors import ErrorCode
from worker.store import CheckFilter, Store


def quarantined(store: Store, code: ErrorCode = ErrorCode.CORRUPT, **changes: object) -> UUID:
    claim = claimed(store, **changes)
    store.fail(claim, code=code, message="why", retry_in=None)
    return claim.check_id


def states(store: Store, *check_ids: UUID) -> list[CheckState]:
    return [store.show(check_id).state for check_id in check_ids]


def test_retried_checks_have_all_their_attempts_and_are_due(store: Store, susy: Susy) -> None:
    check_id = quarantined(store)
    result = susy("retry", check_id, "--yes", "--json")
    assert result.code == 0, result.stderr
    assert result.document == {"matched": 1, "changed": 1, "dry_run": False}
    view = store.show(check_id)
    assert (view.state, view.attempts, view.finished_at) == (CheckState.QUEUED, 0, None)
    assert store.take_due(Lane.LIVE, limit=10) == [check_id]


@pytest.mark.parametrize(
    "filters",
    [
        ("--code", "not_found"),
        ("--source", "chat"),
        ("--lane", "backfill"),
        ("--since", "90m"),
        ("--code", "not_found", "--source", "chat", "--lane", "backfill", "--since", "1.5h", "--until", "0s"),
    ],
    ids=" ".join,
)
def test_quarantined_checks_are_chosen_by_what_they_have_in_common(
    store: Store, run: Sql, susy: Susy, filters: tuple[str, ...]
) -> None:
    meant = quarantined(store, ErrorCode.NOT_FOUND, source="chat", lane=Lane.BACKFILL)
    others = [quarantined(store) for _ in range(3)]
    run("UPDATE susy.checks SET finished_at = now() - interval '1 hour' WHERE id = %s", meant)
    run("UPDATE susy.checks SET finished_at = now() - interval '2 hours' WHERE id <> %s", meant)
    assert susy("retry", *filters, "--yes", "--json").document["changed"] == 1
    assert states(store, meant) == [CheckState.QUEUED]
    assert set(states(store, *others)) == {CheckState.QUARANTINED}


def test_a_point_in_time_can_be_written_out(store: Store, run: Sql, susy: Susy) -> None:
    early, late = quarantined(store), quarantined(store)
    run("UPDATE susy.checks SET finished_at = '2026-01-01T12:00Z' WHERE id = %s", early)
    assert susy("retry", "--until", "2026-01-01T13:00+01:00", "--yes").code == 0
    assert states(store, early, late) == [CheckState.QUEUED, CheckState.QUARANTINED]
    refused = susy("retry", "--since", "yesterday", "--yes")
    assert refused.code == 2
    assert "2h" in refused.stderr


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--source", "chat"), 3),
        (("--lane", "backfill"), 2),
        (("--lane", "live", "--source", "chat"), 2),
        (("--code", "unreadable"), 1),
        (("--until", "30m"), 1),
        (("--all",), 6),
    ],
    ids=str,
)
def test_queued_checks_are_cancelled_wherever_they_are_on_their_way(
    store: Store, run: Sql, susy: Susy, filters: tuple[str, ...], expected: int
) -> None:
    store.submit(backfill(source="chat"))
    store.submit(backfill())
    old = store.submit(submission(source="chat")).check_id
    run("UPDATE susy.checks SET created_at = now() - interval '1 hour' WHERE id = %s", old)
    store.mark_dispatched([store.submit(submission(source="chat")).check_id])
    store.submit(submission())
    store.fail(claimed(store), code=ErrorCode.UNREADABLE, message="why", retry_in=60)
    running, finished = claimed(store, source="chat"), done(store, source="chat")
    assert susy("cancel", *filters, "--dry-run", "--json").document == {
        "matched": expected,
        "changed": 0,
        "dry_run": True,
    }
    assert run("SELECT count(*) FROM susy.checks WHERE state = 'cancelled'") == [(0,)]
    assert susy("cancel", *filters, "--yes", "--json").document["changed"] == expected
    assert run("SELECT count(*) FROM susy.checks WHERE state = 'cancelled'") == [(expected,)]
    assert states(store, running.check_id, finished.check_id) == [CheckState.RUNNING, CheckState.DONE]


def test_what_was_cancelled_by_mistake_can_be_put_back(store: Store, susy: Susy) -> None:
    kept, check_id = quarantined(store), store.submit(submission(source="chat")).check_id
    assert susy("cancel", "--source", "chat", "--yes").code == 0
    assert susy("retry", "--source", "chat", "--yes", "--json").document["changed"] == 0, "retry means quarantined"
    assert susy("retry", "--cancelled", "--source", "chat", "--yes", "--json").document["changed"] == 1
    assert states(store, check_id, kept) == [CheckState.QUEUED, CheckState.QUARANTINED]


def test_what_expired_can_be_put_back_without_its_deadline(store: Store, susy: Susy) -> None:
    kept, check_id = quarantined(store), store.submit(submission(expires_at="2020-01-01T00:00:00Z")).check_id
    assert store.expire(limit=10) == 1
    assert susy("retry", "--all", "--yes", "--dry-run", "--json").document["matched"] == 1, "retry means quarantined"
    assert susy("retry", "--expired", "--source", "avatars", "--yes", "--json").document["changed"] == 1
    assert states(store, check_id, kept) == [CheckState.QUEUED, CheckState.QUARANTINED]
    assert store.claim(check_id, worker="worker-1", lease=60, max_attempts=5) is not None
    refused = susy("retry", "--expired", "--cancelled", "--all", "--yes")
    assert refused.code == 2
    assert "one state" in refused.stderr


@pytest.mark.parametrize("command", ["retry", "cancel"])
def test_without_any_choice_nothing_is_done(store: Store, susy: Susy, command: str) -> None:
    ids = quarantined(store), store.submit(submission()).check_id
    refused = susy(command, "--yes")
    assert refused.code == 2
    assert "--all" in refused.stderr
    assert states(store, *ids) == [CheckState.QUARANTINED, CheckState.QUEUED]


def test_without_a_terminal_nobody_is_asked_and_nothing_is_done(store: Store, susy: Susy) -> None:
    check_id = quarantined(store)
    refused = susy("retry", check_id)
    assert refused.code == 2
    assert "1 quarantined check matches" in refused.stderr
    assert "--yes" in refused.stderr
    assert states(store, check_id) == [CheckState.QUARANTINED]


@pytest.mark.parametrize(("answer", "expected"), [(b"n\n", CheckState.QUEUED), (b"y\n", CheckState.CANCELLED)])
def test_on_a_terminal_the_count_comes_before_the_question(
    store: Store, processes: Processes, answer: bytes, expected: CheckState
) -> None:
    check_id = store.submit(submission()).check_id
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    result = processes.run("backlog", "cancel", "--all", stdin=Path(os.ttyname(theirs)))
    os.close(ours)
    os.close(theirs)
    assert result.code == (1 if expected is CheckState.QUEUED else 0), result.stderr
    assert result.stderr.index("1 queued check matches") < result.stderr.index("Continue?")
    assert states(store, check_id) == [expected]


def test_ids_that_name_nothing_of_the_kind_are_told(store: Store, susy: Susy) -> None:
    check_id = quarantined(store)
    result = susy("retry", check_id, uuid4(), done(store).check_id, "--yes", "--json")
    assert result.code == 1
    assert result.document["changed"] == 1
    assert "2 of the ids" in result.stderr


def test_many_are_changed_in_small_steps(store: Store, run: Sql, susy: Susy, monkeypatch: pytest.MonkeyPatch) -> None:
    run(FILL, "flood", "backfill", 2 * STEP + 5)
    steps: list[int] = []
    cancel = Store.cancel
    monkeypatch.setattr(Store, "cancel", lambda *given, **limit: (steps.append(n := cancel(*given, **limit)), n)[1])
    assert susy("cancel", "--source", "flood", "--yes", "--json").document["changed"] == 2 * STEP + 5
    assert steps == [STEP, STEP, 5, 0]


def test_what_somebody_else_holds_is_left_out_and_does_not_stop_the_rest(store: Store, run: Sql, susy: Susy) -> None:
    held, free = store.submit(submission()).check_id, store.submit(submission()).check_id
    run("BEGIN")
    run("SELECT FROM susy.checks WHERE id = %s FOR UPDATE", held)
    assert susy("cancel", "--all", "--yes", "--json").document == {"matched": 2, "changed": 1, "dry_run": False}
    run("ROLLBACK")
    assert states(store, held, free) == [CheckState.QUEUED, CheckState.CANCELLED]


def test_what_is_quarantined_after_the_question_is_not_retried(store: Store) -> None:
    early = quarantined(store)
    choice = CheckFilter(until=store.now())
    late = quarantined(store)
    assert store.requeue(CheckState.QUARANTINED, choice) == 1
    assert store.requeue(CheckState.QUARANTINED, choice) == 0
    assert states(store, early, late) == [CheckState.QUEUED, CheckState.QUARANTINED]
    assert store.count(CheckState.QUARANTINED, CheckFilter(since=choice.until or store.now() - timedelta(1))) == 1
