"""The plots of an evaluation's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from worker.errors import printable
from worker.lab.evaluation.calibration import Calibration
from worker.lab.evaluation.detection import HALF, Recall
from worker.lab.evaluation.evaluate import CalibrationRow, VariantResult
from worker.lab.evaluation.html import AUTHENTIC_COLOUR, COLOURS, SYNTHETIC_COLOUR, new_figure
from worker.lab.evaluation.items import Items, Level
from worker.lab.evaluation.recognition import ConfusionMatrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def roc(results: tuple[VariantResult, ...]) -> Figure | None:
    """The ROC curve of each variant's images; None without both authentic and synthetic images."""
    from sklearn.metrics import roc_curve

    drawable = [(of, rows) for of in results if _both(rows := of.items[Level.IMAGE])]
    if not drawable:
        return None
    figure = new_figure(5.0, 4.4)
    axes = figure.subplots()
    for colour, (result, rows) in zip(COLOURS, drawable, strict=False):
        false, true, _ = roc_curve(rows.synthetic, rows.scores)
        area = result.levels[Level.IMAGE].areas["roc_auc"].value
        axes.plot(false, true, color=colour, label=f"{result.variant}: {area:.3f}", drawstyle="steps-post")
    axes.plot([0, 1], [0, 1], color="#bbb", linestyle=":")
    axes.set(title="ROC, per image", xlabel="authentic called synthetic", ylabel="synthetic called synthetic")
    axes.legend(loc="lower right", title="area under the curve")
    return figure


def histograms(rows: Items, threshold: float | None) -> Figure:
    """The distribution of the scores of each label, one histogram per label, authentic ones first."""
    labels = sorted({(bool(kind), entry.label) for kind, entry in zip(rows.synthetic, rows.entries, strict=True)})
    of_items = np.array([entry.label for entry in rows.entries])
    figure = new_figure(6.4, 0.8 + 0.75 * max(1, len(labels)))
    strips = np.atleast_1d(figure.subplots(max(1, len(labels)), sharex=True))
    for axes, (synthetic, label) in zip(strips, labels, strict=False):
        colour = SYNTHETIC_COLOUR if synthetic else AUTHENTIC_COLOUR
        axes.hist(rows.scores[of_items == label], bins=np.linspace(0, 1, 41).tolist(), color=colour)
        axes.axvline(HALF, color="#333", linewidth=0.8)
        if threshold is not None:
            axes.axvline(threshold, color="#333", linewidth=0.8, linestyle="--")
        axes.set_ylabel(printable(label), rotation=0, ha="right", va="center", fontsize=9)
        axes.tick_params(axis="y", labelsize=7)
    strips[-1].set_xlabel("score: 0 authentic, 1 synthetic (line: 0.5, dashed: best threshold)")
    strips[0].set_title("Scores by label, per image")
    return figure


def confusion(table: ConfusionMatrix) -> Figure | None:
    """The confusion matrix, coloured by the share of each row; None without rows."""
    if not table.rows:
        return None
    counts = np.array(table.counts, float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(2.6 + 0.85 * len(table.columns), 1.7 + 0.5 * len(table.rows))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Greens", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(table.columns)), list(map(printable, table.columns)), rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(table.rows)), list(map(printable, table.rows)), fontsize=8)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.6 else "#222"
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set(title="Confusion matrix, per image", xlabel="most probable class", ylabel="true class")
    return figure


def reliability(rows: tuple[CalibrationRow, ...]) -> Figure | None:
    """Accuracy against confidence at each temperature; None without any."""
    if not rows:
        return None
    figure = new_figure(5.0, 4.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bbb", linestyle=":")
    for colour, row in zip(("#7f7f7f", "#1f78b4", "#ff7f00"), rows, strict=False):
        label = f"{row.what} ({row.result.temperature:.2f}): {row.result.expected_error:.3f}"
        _reliability_line(axes, row.result, colour, label)
    axes.set(
        title="Reliability of patches", xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02)
    )
    axes.legend(loc="upper left", title="expected calibration error", fontsize=8)
    return figure


def recall_bars(recalls: tuple[Recall, ...]) -> Figure | None:
    """Recall of each data set with its interval; None without any."""
    if not recalls:
        return None
    figure = new_figure(6.4, 1.1 + 0.34 * len(recalls))
    axes = figure.subplots()
    for place, row in enumerate(reversed(recalls)):
        value, low, high = row.at_half.value or 0.0, row.at_half.low, row.at_half.high
        error = None if low is None or high is None else [[max(0, value - low)], [max(0, high - value)]]
        colour = SYNTHETIC_COLOUR if row.synthetic else AUTHENTIC_COLOUR
        axes.barh(place, value, color=colour, alpha=0.75, xerr=error, error_kw={"ecolor": "#333", "capsize": 3})
    names = [row.label if row.dataset == row.label else f"{row.dataset}, {row.label}" for row in reversed(recalls)]
    axes.set_yticks(range(len(recalls)), list(map(printable, names)), fontsize=8)
    axes.set(title="Recall by data set at 0.5, per image", xlim=(0, 1), xlabel="classified correctly")
    return figure


def _reliability_line(axes: object, result: Calibration, colour: str, label: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    shares = [60 * item.count / result.count for item in result.bins]
    confidences, accuracies = zip(*((item.confidence, item.accuracy) for item in result.bins), strict=True)
    axes.plot(confidences, accuracies, color=colour, linewidth=1.2, label=label)
    axes.scatter(confidences, accuracies, s=[12 + share * 2 for share in shares], color=colour, alpha=0.8)


def _both(rows: Items) -> bool:
    return bool(rows.synthetic.any() and not rows.synthetic.all())
