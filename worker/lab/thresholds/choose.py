"""The thresholds that reach the goals on one half of the labels, with 95 % confidence.

A goal counts as reached where the bound of the rate reaches it, not the rate itself: of a threshold whose rate here is
1 %, the true rate is above 1 % every other time. The thresholds are tried from the one that certainly reaches the goal
towards the one that does not, and the last before the first failure is chosen. Rates rise and fall with the threshold,
so the sequence of tests needs no correction for their number (Angelopoulos et al. 2021, arXiv 2110.01052, fixed
sequence testing). A precision does neither; its bound here is a guide, and the other half says what it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, InputDataError
from worker.lab.intervals import CONFIDENCE, Mass, trials_needed, upper_bound
from worker.lab.thresholds.goals import Goals
from worker.lab.thresholds.labelled import Labelled
from worker.lab.thresholds.tail import GRID, Tail, tail_of

JOINT = (1 + CONFIDENCE) / 2
"""Of each of two bounds that hold together with `CONFIDENCE` (Bonferroni)."""


@dataclass(frozen=True)
class Chosen:
    """One key of a policy and the threshold that reaches a goal."""

    key: str
    """`synthetic_at` or `authentic_below`."""
    goal: str
    """In words."""
    threshold: float
    labels: int
    """Contents that it was chosen on."""


class TooFewLabelsError(InputDataError):
    """Even without a single mistake, these labels would not show that the goal is reached."""

    def __init__(self, goal: str, kind: str, needed: int, present: int) -> None:
        super().__init__(
            ErrorCode.DATA_INVALID,
            f"too few labels for {goal}: the half that thresholds are chosen on needs at least {needed:,} {kind} "
            f"contents and has {present:,}; label {2 * (needed - present):,} more, or ask for less",
        )
        self.shown = f"needs {needed:,} {kind} contents to choose on, has {present:,}"


def choose(items: Labelled, goals: Goals) -> tuple[Chosen, ...]:
    """A threshold per goal, in the order of the goals.

    Raises `TooFewLabelsError` with the number that is needed, and `InputDataError` (`data_invalid`) where no threshold
    reaches the goal however many there are.
    """
    authentic, synthetic = tail_of(items.authentic), tail_of(items.generated)
    chosen = []
    if goals.max_fpr is not None:
        words = f"at most {goals.max_fpr:.3g} of authentic images called synthetic"
        place = _lowest(_exceeds(authentic, goals.max_fpr, above=True), "authentic", authentic, goals.max_fpr, words)
        chosen.append(Chosen("synthetic_at", words, float(GRID[place]), authentic.count))
    if goals.precision is not None:
        assert goals.prevalence is not None
        words = f"at least {goals.precision:.3g} of those called synthetic are, where {goals.prevalence:.3g} of all are"
        place = _precise(authentic, synthetic, goals.precision, goals.prevalence, words)
        chosen.append(Chosen("synthetic_at", words, float(GRID[place]), authentic.count + synthetic.count))
    if goals.min_recall is not None:
        words = f"at least {goals.min_recall:.3g} of synthetic images not called authentic"
        place = _highest(_exceeds(synthetic, 1 - goals.min_recall, above=False), synthetic, 1 - goals.min_recall, words)
        chosen.append(Chosen("authentic_below", words, float(GRID[place]), synthetic.count))
    return tuple(chosen)


def combine(chosen: tuple[Chosen, ...], synthetic_at: float, authentic_below: float) -> tuple[float, float]:
    """`synthetic_at` and `authentic_below` of a policy that had these two and reaches every goal of `chosen`.

    Where one threshold reaches them all, both keys get it, and nothing is inconclusive for its score.
    """
    at = [each.threshold for each in chosen if each.key == "synthetic_at"]
    below = [each.threshold for each in chosen if each.key == "authentic_below"]
    if at and below:
        return max(at), min(*below, max(at))
    if at:
        return max(at), min(authentic_below, max(at))
    return max(synthetic_at, min(below)), min(below)


def needed(tail: Tail, share: float) -> int:
    """How many items of a kind bound a share by `share`, one-sided, when none of them has the property.

    More than of unweighted items, where the next one may weigh more than those that were seen.
    """
    if not tail.count:
        return trials_needed(share)
    total, squares = tail.total, tail.squares
    scale = squares / total / tail.heaviest
    odds = share / (1 - share) * scale
    wanted = math.log(1 - CONFIDENCE) / -math.log1p(odds)
    return math.ceil(tail.count * wanted / (total * total / squares) - 1e-9)


def _exceeds(tail: Tail, limit: float, *, above: bool) -> NDArray[np.bool_]:
    """[10001] whether the share at or above each threshold, or that below it, may exceed `limit`."""
    mass = tail.above if above else tail.below
    total, squares = np.asarray(mass.total), np.asarray(mass.squares)
    exceeds = np.ones(len(GRID), np.bool_)
    # A bound is never below the share itself, so that most thresholds need none.
    tried = np.flatnonzero(total <= limit * tail.total) if tail.count else np.empty(0, np.intp)
    exceeds[tried] = _bounds(total[tried], squares[tried], tail, tried, above=above) > limit
    return exceeds


def _bounds(
    total: NDArray[np.float64], squares: NDArray[np.float64], tail: Tail, places: NDArray[np.intp], *, above: bool
) -> NDArray[np.float64]:
    rest = tail.below if above else tail.above
    # Neighbouring thresholds mostly have the same items above them: each set is looked at once.
    changes = np.diff(total, prepend=-1.0) != 0
    first, back = np.flatnonzero(changes), np.cumsum(changes) - 1
    others = Mass(np.asarray(rest.total)[places][first], np.asarray(rest.squares)[places][first])
    bounds: NDArray[np.float64] = upper_bound(Mass(total[first], squares[first]), others, tail.heaviest)[back]
    return bounds


def _lowest(over: NDArray[np.bool_], kind: str, tail: Tail, limit: float, words: str) -> int:
    failures = np.flatnonzero(over)
    place = int(failures[-1]) + 1 if len(failures) else 0
    if place < len(GRID):
        return place
    _require(kind, tail, needed(tail, limit), words)
    raise _unreachable(words, f"{tail.above_count[-1]} of {tail.count} authentic contents score 1")


def _highest(missed: NDArray[np.bool_], tail: Tail, limit: float, words: str) -> int:
    failures = np.flatnonzero(missed)
    place = int(failures[0]) - 1 if len(failures) else len(GRID) - 1
    if place >= 0:
        return place
    _require("synthetic", tail, needed(tail, limit), words)
    raise _unreachable(words, "too many synthetic contents score 0")


def _precise(authentic: Tail, synthetic: Tail, precision: float, prevalence: float, words: str) -> int:
    """The lowest threshold at which the bound of the precision reaches `precision`."""
    # precision ≥ p ⇔ false-positive rate ≤ allowed · recall
    allowed = prevalence * (1 - precision) / (precision * (1 - prevalence))
    _require("synthetic", synthetic, trials_needed(0.5), words)
    if authentic.count:
        recall = 1 - upper_bound(synthetic.below, synthetic.above, synthetic.heaviest, JOINT)
        possible = np.asarray(authentic.above.total) <= allowed * authentic.total
        places = np.flatnonzero(possible)
        false = upper_bound(_at(authentic.above, places), _at(authentic.below, places), authentic.heaviest, JOINT)
        reached = places[false <= allowed * recall[places]]
        if len(reached):
            return int(reached[0])
        clear = np.flatnonzero(np.asarray(authentic.above.total) == 0)
        best = float(recall[clear[0]]) if len(clear) else 0.0
    else:
        best = 1.0
    count = (
        math.ceil(needed(authentic, min(allowed * best, 0.5)) * math.log(1 - JOINT) / math.log(1 - CONFIDENCE))
        if best > 0
        else 0
    )
    _require("authentic", authentic, count, words)
    raise _unreachable(words, "too many authentic contents score as high as synthetic ones")


def _at(mass: Mass, places: NDArray[np.intp]) -> Mass:
    return Mass(np.asarray(mass.total)[places], np.asarray(mass.squares)[places])


def _require(kind: str, tail: Tail, count: int, words: str) -> None:
    """Raise `TooFewLabelsError` unless there are `count` items of a kind."""
    if tail.count < count:
        raise TooFewLabelsError(words, kind, count, tail.count)


def _unreachable(words: str, why: str) -> InputDataError:
    return InputDataError(
        ErrorCode.DATA_INVALID,
        f"no threshold reaches {words}: {why}; more labels may not help, other weights or a lower goal would",
    )
