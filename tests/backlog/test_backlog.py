"""`susy backlog status`: figures that are true, or say that they are estimates."""

from __future__ import annotations

import json
import re
import signal

import pytest

from schema.states import Lane
from tests.backlog.conftest import FILL, Sql, Susy
from tests.support.commands import Processes
from tests.support.ledger import backfill, claimed, done, submission, submit_all
from worker.errors import ErrorCode
from worker.store import Store
from worker.store.store import EXACT_UP_TO, SET_ASIDE_UP_TO

DONE = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, state, finished_at, content_sha256)
SELECT gen_random_uuid(), 'old', 'done-' || i, '/images/1.jpg', 'live', 'done', now() - i * interval '1 second',
    repeat('a', 64)
FROM generate_series(%s::int, %s::int) AS i
"""
"""From and to: checks that were done so many seconds ago, one a second."""


def test_each_lane_and_what_was_set_aside_is_counted(store: Store, run: Sql, susy: Susy) -> None:
    submit_all(store, (submission() for _ in range(3)))
    dispatched = store.submit(submission()).check_id
    store.mark_dispatched([dispatched])
    submit_all(store, (backfill() for _ in range(2)))
    claimed(store)
    done(store)
    for code in (ErrorCode.CORRUPT, ErrorCode.CORRUPT, ErrorCode.NOT_FOUND):
        store.fail(claimed(store), code=code, message="why", retry_in=None)
    store.fail(claimed(store), code=ErrorCode.UNREADABLE, message="why", retry_in=600)
    store.reject_message("susy.submit", "{}", code=ErrorCode.INVALID_MESSAGE, message="no uri")
    run("UPDATE susy.checks SET next_attempt_at = next_attempt_at - interval '1 hour' WHERE id = %s", dispatched)
    result = susy("status", "--json")
    assert result.code == 0, result.stderr
    live, later = result.document["lanes"]
    assert (live["lane"], live["queued"], live["queued_is_exact"], live["running"]) == ("live", 5, True, 1)
    assert (later["lane"], later["queued"], later["queued_is_exact"], later["running"]) == ("backfill", 2, True, 0)
    assert live["done_per_minute"] == 1, "one in the first minute"
    assert live["drained_in_seconds"] == 6 * 60
    assert live["oldest_age_seconds"] == pytest.approx(3600, abs=60)
    assert later["oldest_age_seconds"] == pytest.approx(0, abs=60)
    assert result.document["quarantined"] == {"corrupt": 2, "not_found": 1}
    assert result.document["rejected_messages"] == 1


def test_an_empty_ledger_has_no_age_and_no_end(susy: Susy) -> None:
    assert susy("status", "--json").document == {
        "lanes": [
            {
                "lane": lane,
                "queued": 0,
                "queued_is_exact": True,
                "running": 0,
                "done_per_minute": 0,
                "oldest_age_seconds": None,
                "drained_in_seconds": None,
                "paused_at": None,
            }
            for lane in ("live", "backfill")
        ],
        "quarantined": {},
        "expired": 0,
        "rejected_messages": 0,
        "set_aside_is_exact": True,
    }


def test_what_only_waits_for_its_next_attempt_is_not_old(store: Store) -> None:
    store.fail(claimed(store), code=ErrorCode.UNREADABLE, message="why", retry_in=600)
    live, _ = store.status().lanes
    assert (live.queued, live.oldest_age) == (1, None)


def test_the_rate_is_that_of_the_last_minutes_and_tells_when_the_lane_is_empty(store: Store, run: Sql) -> None:
    run(FILL, "flood", "live", 600)
    run(DONE, 400, 1000)
    assert store.status().lanes[0].drained_in is None, "nothing was done lately"
    run(DONE, 1, 120)
    live, later = store.status().lanes
    assert live.done_per_minute == pytest.approx(60, rel=0.1), "over the two minutes since work began"
    assert live.drained_in == pytest.approx(600, rel=0.1)
    assert (later.done_per_minute, later.drained_in) == (0, None)
    run(DONE, 121, 350)
    assert store.status().lanes[0].done_per_minute == pytest.approx(60, rel=0.1)


def test_a_long_lane_is_estimated_says_so_and_can_be_counted(store: Store, run: Sql, susy: Susy) -> None:
    run(FILL, "flood", "backfill", EXACT_UP_TO)
    run(FILL, "other", "backfill", 50)
    run(FILL, "other", "live", 99)
    store.analyze()
    live, later = susy("status", "--json").document["lanes"]
    assert (live["queued"], live["queued_is_exact"]) == (99, True)
    assert later["queued"] == pytest.approx(EXACT_UP_TO + 50, rel=0.1)
    assert not later["queued_is_exact"]
    assert "~" in susy("status").stdout
    counted = susy("status", "--json", "--exact").document["lanes"]
    assert [(lane["queued"], lane["queued_is_exact"]) for lane in counted] == [(99, True), (EXACT_UP_TO + 50, True)]


def test_a_lane_that_nobody_has_analyzed_is_at_least_as_long_as_was_counted(store: Store, run: Sql) -> None:
    run(FILL, "flood", "backfill", 1000)
    assert store.status(exact_up_to=100).lanes[1].queued >= 100


def test_people_get_a_table(store: Store, susy: Susy) -> None:
    submit_all(store, (backfill() for _ in range(1234)))
    submit_all(store, (submission(expires_at="2020-01-01T00:00:00Z") for _ in range(17)))
    store.expire(limit=100)
    store.fail(claimed(store), code=ErrorCode.CORRUPT, message="why", retry_in=None)
    shown = susy("status").stdout
    assert "1,234" in shown
    assert "quarantined: corrupt" in shown
    assert re.search(r"expired +17\n", shown)
    assert susy("status", "--json").document["expired"] == 17
    assert "drained in" in shown


def test_what_was_set_aside_is_counted_up_to_a_bound_and_exactly_on_demand(susy: Susy, run: Sql) -> None:
    run(
        "INSERT INTO susy.checks"
        " (id, source, external_id, uri, lane, state, error_code, error_message, finished_at, expires_at)"
        " SELECT gen_random_uuid(), 'chat', i::text, '/images/1.jpg', 'live', state, code, code, now(), now()"
        " FROM generate_series(1, %s) AS i,"
        " LATERAL (SELECT CASE WHEN i %% 3 = 0 THEN 'expired' ELSE 'quarantined' END) AS s (state),"
        " LATERAL (SELECT CASE WHEN i %% 3 = 0 THEN NULL WHEN i <= 9 THEN 'not_found' ELSE 'corrupt' END) AS e (code)",
        3 * SET_ASIDE_UP_TO,
    )
    document = susy("status", "--json").document
    assert document["quarantined"] == {"corrupt": SET_ASIDE_UP_TO, "not_found": 6}
    assert (document["expired"], document["set_aside_is_exact"]) == (SET_ASIDE_UP_TO, False)
    assert re.search("quarantined: corrupt +1,000 or more\n", susy("status").stdout)
    counted = susy("status", "--json", "--exact").document
    assert counted["quarantined"] == {"corrupt": 2 * SET_ASIDE_UP_TO - 6, "not_found": 6}
    assert counted["set_aside_is_exact"] is True


def test_watching_looks_again_until_it_is_interrupted(processes: Processes, store: Store) -> None:
    process = processes.start("backlog", "status", "--watch", "--json")
    process.eventually(lambda: process.output().endswith("\n"))
    store.submit(submission(lane=Lane.LIVE))
    process.eventually(lambda: process.output().count("\n") > 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    first, second, *_ = map(json.loads, process.output().splitlines())
    assert [look["lanes"][0]["queued"] for look in (first, second)] == [0, 1]
