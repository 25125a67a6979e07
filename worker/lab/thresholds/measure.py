"""What thresholds do to labels that they were not chosen on: rates with their 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worker.lab.evaluation.bootstrap import Estimate
from worker.lab.intervals import CONFIDENCE, Mass, interval
from worker.lab.thresholds.choose import JOINT
from worker.lab.thresholds.labelled import Labelled
from worker.lab.thresholds.tail import Tail, tail_of


@dataclass(frozen=True)
class Rate(Estimate):
    """A share with its interval, and the contents that it was counted from."""

    count: int = 0
    of: int = 0


@dataclass(frozen=True)
class Measured:
    """The rates of two thresholds."""

    false_positive_rate: Rate
    """Of authentic contents, those at or above `synthetic_at`."""
    recall: Rate
    """Of synthetic contents, those at or above `synthetic_at`."""
    not_missed: Rate
    """Of synthetic contents, those that are not below `authentic_below`: called synthetic or seen by a person."""
    cleared: Rate
    """Of authentic contents, those below `authentic_below`: called authentic."""
    precision: Estimate
    """At the stated prevalence; without a value where none is stated."""


def measure(items: Labelled, synthetic_at: float, authentic_below: float, prevalence: float | None) -> Measured:
    """The rates among `items`."""
    below, at = 0, 1
    thresholds = np.array([authentic_below, synthetic_at])
    authentic, synthetic = tail_of(items.authentic, thresholds), tail_of(items.generated, thresholds)
    return Measured(
        false_positive_rate=_rate(authentic, at, above=True),
        recall=_rate(synthetic, at, above=True),
        not_missed=_rate(synthetic, below, above=True),
        cleared=_rate(authentic, below, above=False),
        precision=_precision(authentic, synthetic, at, prevalence),
    )


def share_of(part: Labelled, rest: Labelled) -> Rate:
    """The share of `part` in both."""
    inside, outside = tail_of(part, np.zeros(1)), tail_of(rest, np.zeros(1))
    total = inside.total + outside.total
    if not total:
        return Rate(None)
    heaviest = max(inside.heaviest, outside.heaviest)
    low, high = interval(inside.at(0)[0], outside.at(0)[0], heaviest)
    return Rate(inside.total / total, float(low), float(high), inside.count, inside.count + outside.count)


def _rate(tail: Tail, place: int, *, above: bool, confidence: float = CONFIDENCE) -> Rate:
    if not tail.count:
        return Rate(None)
    over, under = tail.at(place)
    part, rest = (over, under) if above else (under, over)
    low, high = interval(part, rest, tail.heaviest, confidence)
    count = int(tail.above_count[place])
    return Rate(_total(part) / tail.total, float(low), float(high), count if above else tail.count - count, tail.count)


def _precision(authentic: Tail, synthetic: Tail, place: int, prevalence: float | None) -> Estimate:
    """By Bayes' rule from recall and false-positive rate; both bounds hold together with 95 %."""
    false = _rate(authentic, place, above=True, confidence=JOINT)
    found = _rate(synthetic, place, above=True, confidence=JOINT)
    if prevalence is None or None in (false.value, found.value):
        return Estimate(None)

    def of(recall: float | None, rate: float | None) -> float | None:
        hit, wrong = prevalence * (recall or 0.0), (1 - prevalence) * (rate or 0.0)
        return hit / (hit + wrong) if hit + wrong else None

    return Estimate(of(found.value, false.value), of(found.low, false.high), of(found.high, false.low))


def _total(mass: Mass) -> float:
    return float(np.asarray(mass.total))
