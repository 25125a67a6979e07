"""The plots of a calibration's report. All show the half that rates are measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.lab.evaluation.html import AUTHENTIC_COLOUR, SYNTHETIC_COLOUR, new_figure
from worker.lab.intervals import CONFIDENCE
from worker.lab.thresholds.calibrate import Calibrated
from worker.lab.thresholds.measure import share_of
from worker.lab.thresholds.tail import GRID, Tail, tail_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 10
COST_RATIOS = (0.1, 1.0, 10.0)
"""What an authentic image called synthetic costs, in units of a synthetic one that is not."""
_NEW, _OLD = "#222222", "#999999"


def roc(calibrated: Calibrated) -> Figure:
    """Recall against false-positive rate, with the new threshold and its intervals."""
    authentic, synthetic = _tails(calibrated)
    figure = new_figure(5.0, 4.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bbb", linestyle=":")
    axes.plot(_shares(authentic), _shares(synthetic), color="#1f78b4", drawstyle="steps-post")
    measured = calibrated.measured
    false, found = measured.false_positive_rate, measured.recall
    _cross(axes, (false.value, false.low, false.high), (found.value, found.low, found.high))
    axes.set(title="ROC", xlabel="authentic, called synthetic", ylabel="synthetic, called synthetic")
    axes.legend(loc="lower right")
    return figure


def precision_recall(calibrated: Calibrated) -> Figure:
    """Precision against recall, at the stated prevalence or else at that of the labels."""
    authentic, synthetic = _tails(calibrated)
    prevalence = prevalence_of(calibrated)
    found, false = _shares(synthetic), _shares(authentic)
    called = prevalence * found + (1 - prevalence) * false
    some = called > 0
    figure = new_figure(5.0, 4.4)
    axes = figure.subplots()
    axes.plot(found[some], prevalence * found[some] / called[some], color="#1f78b4")
    at, precision = calibrated.measured.recall, calibrated.measured.precision
    if precision.value is not None:
        _cross(axes, (at.value, at.low, at.high), (precision.value, precision.low, precision.high))
        axes.legend(loc="lower left")
    axes.axhline(prevalence, color="#bbb", linestyle=":")
    axes.set(
        title=f"Precision and recall, where {prevalence:.3g} of all are synthetic",
        xlabel="recall: synthetic, called synthetic",
        ylabel="precision: called synthetic, and are",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    return figure


def histogram(calibrated: Calibrated) -> Figure:
    """The distribution of the scores of authentic and of synthetic contents."""
    report = calibrated.labels.report
    figure = new_figure(6.4, 3.6)
    both = figure.subplots(2, sharex=True)
    kinds = (("authentic", report.authentic, AUTHENTIC_COLOUR), ("synthetic", report.generated, SYNTHETIC_COLOUR))
    for axes, (name, items, colour) in zip(both, kinds, strict=True):
        weights = items.weights / max(float(items.weights.sum()), 1e-9)
        axes.hist(items.scores, bins=np.linspace(0, 1, 41).tolist(), weights=weights, color=colour)
        axes.set_ylabel(f"share of\n{name}")
        _thresholds(axes, calibrated)
    both[0].set_title("Scores")
    both[1].set_xlabel("score: 0 authentic, 1 synthetic")
    return figure


def reliability(calibrated: Calibrated) -> Figure:
    """The share of synthetic contents against the score, in ranges of a tenth, with intervals."""
    report = calibrated.labels.report
    places = np.clip((report.scores * BINS).astype(int), 0, BINS - 1)
    figure = new_figure(5.0, 4.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bbb", linestyle=":")
    for place in np.unique(places).tolist():
        items = report.where(places == place)
        share = share_of(items.generated, items.authentic)
        middle = float(np.average(items.scores, weights=items.weights))
        assert share.value is not None  # there is an item
        low, high = share.low or 0.0, share.high or 0.0
        axes.plot([middle, middle], [low, high], color="#8fb3d0", linewidth=3, solid_capstyle="butt")
        axes.plot(middle, share.value, color="#12507b", marker="o", markersize=5)
        axes.annotate(f"{len(items):,}", (middle, share.value), (5, 4), textcoords="offset points", fontsize=7)
    axes.set(
        title="Reliability of the score",
        xlabel="mean score of a tenth (beside each: contents)",
        ylabel="share that is synthetic",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    return figure


def costs(calibrated: Calibrated) -> Figure:
    """The expected cost of mistakes per image against `synthetic_at`, for three ratios of the two costs."""
    authentic, synthetic = _tails(calibrated)
    prevalence = prevalence_of(calibrated)
    false, missed = _shares(authentic), 1 - _shares(synthetic)
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    for ratio, colour in zip(COST_RATIOS, ("#1f78b4", "#6a3d9a", "#ff7f00"), strict=True):
        # Divided by the cost of always being wrong, so that the three can be compared (Drummond and Holte 2006).
        cost = (ratio * (1 - prevalence) * false + prevalence * missed) / (ratio * (1 - prevalence) + prevalence)
        best = int(cost.argmin())
        axes.plot(GRID, cost, color=colour, label=f"a false positive costs {ratio:g} misses: least at {GRID[best]:.4f}")
        axes.plot(GRID[best], cost[best], color=colour, marker="o", markersize=5)
    _thresholds(axes, calibrated)
    axes.set(
        title=f"Cost of mistakes, where {prevalence:.3g} of all are synthetic",
        xlabel="synthetic_at",
        ylabel="cost per image\n(1: always wrong)",
    )
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", fontsize=8)
    return figure


def prevalence_of(calibrated: Calibrated) -> float:
    """The stated or measured share of synthetic images, or else that of the labels."""
    report = calibrated.labels.report
    return calibrated.goals.prevalence or float(report.generated.weights.sum() / report.weights.sum())


def _tails(calibrated: Calibrated) -> tuple[Tail, Tail]:
    report = calibrated.labels.report
    return tail_of(report.authentic), tail_of(report.generated)


def _shares(tail: Tail) -> NDArray[np.float64]:
    return np.asarray(tail.above.total) / tail.total


def _thresholds(axes: Axes, calibrated: Calibrated) -> None:
    for policy, colour in ((calibrated.base, _OLD), (calibrated.policy, _NEW)):
        axes.axvline(policy.synthetic_at, color=colour, linewidth=1)
        axes.axvline(policy.authentic_below, color=colour, linewidth=1, linestyle="--")


def _cross(
    axes: Axes,
    across: tuple[float | None, float | None, float | None],
    up: tuple[float | None, float | None, float | None],
) -> None:
    """A point with its interval on both axes."""
    x, left, right = (0.0 if of is None else of for of in across)
    y, low, high = (0.0 if of is None else of for of in up)
    label = f"synthetic_at, with {CONFIDENCE:.0%} intervals"
    axes.errorbar(
        x, y, xerr=[[x - left], [right - x]], yerr=[[y - low], [high - y]],
        color=_NEW, marker="o", markersize=5, capsize=3, linewidth=1, label=label,
    )  # fmt: skip
