"""The groups of `make bench`: rounds within a limit, cores, and re-uploads."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from bench import suite
from bench.figures import Figure
from bench.groups import pace
from bench.groups.pace import LEAST, Pace
from bench.throughput import EDGE, contents


def test_no_round_begins_that_would_exceed_the_limit_but_a_median_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Pace("forward", quick=True, seconds=60).rounds(2, 9)) == [0, 1]
    assert list(Pace("forward", quick=False, seconds=60).rounds(2, 9)) == list(range(9))
    late = Pace("forward", quick=False, seconds=-1)
    assert list(late.rounds(2, 9)) == list(range(LEAST))
    assert "after 3 of 9 rounds" in capsys.readouterr().err


def test_a_group_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "HANGS", 0.02)
    with pytest.raises(TimeoutError, match="memory did not end within"), Pace("memory", True, 0.02).enforced():
        time.sleep(5)


def test_more_cores_than_there_are_is_refused_with_a_plain_line() -> None:
    assert suite.leave_cores(None) == ""
    with pytest.raises(SystemExit, match=r"^--cores 4096: this machine has \d+; run the bench on a machine with 4096$"):
        suite.leave_cores(4096)


def test_what_is_refused_or_failed_is_said_in_a_line_each() -> None:
    lines = suite.complain([Figure.of("rate", [1.0, 2.0, 3.0], "images/s")], ["memory"])
    assert lines[0].startswith("memory: not measured")
    assert lines[1] == "rate: refused, because its 3 rounds differ by 100%, more than 35%"


def test_reuploads_begin_after_the_first_images_and_keep_their_share_throughout() -> None:
    numbers = contents(60, 0.3)
    assert numbers[:EDGE] == list(range(EDGE))
    for begin in range(EDGE, 60, 10):
        repeated = [at for at in range(begin, begin + 10) if numbers[at] in numbers[:at]]
        assert len(repeated) == 3
    for content, count in Counter(numbers).items():
        if count > 1:
            first = numbers.index(content)
            assert numbers.index(content, first + 1) - first >= EDGE, "its original has a verdict by then"
    assert contents(20, 0.0) == list(range(20))
