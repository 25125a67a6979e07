from __future__ import annotations

import json
from pathlib import Path

import pytest

from schema.states import Decision
from worker.lab.evaluation.stability import Look, Trace
from worker.lab.evaluation.stability_alterations import ALTERATIONS
from worker.lab.evaluation.stability_summary import Spread, summarize, summary_document

HALF, LOW = ALTERATIONS[:2]
AUTHENTIC, SYNTHETIC, INCONCLUSIVE = Decision.AUTHENTIC, Decision.SYNTHETIC, Decision.INCONCLUSIVE
TOO_SMALL = Look(None, INCONCLUSIVE)

TRACES = [
    Trace(Path("flips"), Look(0.1, AUTHENTIC), (Look(0.9, SYNTHETIC), Look(0.2, AUTHENTIC))),
    Trace(Path("changes"), Look(0.8, SYNTHETIC), (Look(0.6, INCONCLUSIVE), Look(0.7, SYNTHETIC))),
    Trace(Path("shrinks"), Look(0.5, INCONCLUSIVE), (Look(0.5, INCONCLUSIVE), TOO_SMALL)),
    Trace(Path("large"), Look(0.3, AUTHENTIC), (Look(0.4, AUTHENTIC), None)),
    Trace(Path("small"), TOO_SMALL, ()),
]


def test_scores_that_move_and_decisions_that_flip_are_counted_by_alteration() -> None:
    half, low = summarize(TRACES, 0, (HALF, LOW)).effects
    assert (half.applied, half.not_scored, half.compared) == (4, 0, 4)
    assert (half.flips, half.changes) == (1, 2)
    assert half.move is not None
    assert half.move.median == pytest.approx(0.05)  # of −0.2, 0, 0.1, 0.8
    assert (half.move.low, half.move.high) == (pytest.approx(-0.17), pytest.approx(0.695))
    assert half.distance == pytest.approx(0.15)
    assert (low.applied, low.not_scored, low.compared) == (3, 1, 2)
    assert (low.flips, low.changes) == (0, 0)


def test_an_image_too_small_after_an_alteration_changes_no_decision() -> None:
    synthetic = Trace(Path("shrinks"), Look(0.9, SYNTHETIC), (TOO_SMALL,))
    summary = summarize([synthetic], 0, (HALF,))
    assert (summary.changed, summary.effects[0].changes, summary.effects[0].not_scored) == (0, 0, 1)
    assert summary.effects[0].move is None


def test_images_are_counted_once_however_often_they_flip() -> None:
    twice = Trace(Path("twice"), Look(0.1, AUTHENTIC), (Look(0.9, SYNTHETIC), Look(0.9, SYNTHETIC)))
    summary = summarize([*TRACES, twice], 3, (HALF, LOW))
    assert (summary.images, summary.scored, summary.not_scored, summary.unreadable) == (6, 5, 1, 3)
    assert (summary.flipped, summary.changed) == (2, 3)
    assert summary.decisions == {"authentic": 3, "synthetic": 1, "inconclusive": 1}
    assert summary.farthest is not None
    assert summary.farthest.median == pytest.approx(0.2)  # of 0.8, 0.2, 0, 0.1, 0.8


def test_no_images_make_an_empty_summary() -> None:
    summary = summarize([], 2, (HALF, LOW))
    assert (summary.scored, summary.farthest) == (0, None)
    assert [effect.move for effect in summary.effects] == [None, None]
    assert json.loads(json.dumps(summary_document(summary)))["unreadable"] == 2


def test_the_document_says_which_alteration_does_what() -> None:
    document = summary_document(summarize(TRACES, 0, (HALF, LOW)))
    assert document["alterations"][0] == {
        "family": "jpeg", "setting": 40, "applied": 4, "not_scored": 0,
        "move": {"p5": -0.17, "median": 0.05, "p95": 0.695}, "distance": 0.15, "flips": 1, "changes": 2,
    }  # fmt: skip


def test_a_spread_holds_nine_of_ten() -> None:
    traces = [Trace(Path("x"), Look(0.0, AUTHENTIC), (Look(step / 100, AUTHENTIC),)) for step in range(101)]
    assert summarize(traces, 0, (HALF,)).effects[0].move == Spread(
        pytest.approx(0.05), pytest.approx(0.5), pytest.approx(0.95)
    )
