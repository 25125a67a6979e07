"""Pictures of stability: scores along each alteration, how far they move, how often decisions change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.states import Decision
from worker.lab.evaluation.plots import AUTHENTIC_COLOUR, SYNTHETIC_COLOUR, new_figure, svg_or_png
from worker.lab.evaluation.stability import Trace
from worker.lab.evaluation.stability_alterations import ALTERATIONS, FAMILIES, Family
from worker.lab.evaluation.stability_summary import Effect, Summary, scores
from worker.policy.policy import Policy, Rule

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

MOST_LINES = 120
"""Thin lines in one plot; of more images, as many are drawn, evenly chosen."""
_COLOURS = {
    Decision.AUTHENTIC: AUTHENTIC_COLOUR,
    Decision.INCONCLUSIVE: "#7a7a7a",
    Decision.SYNTHETIC: SYNTHETIC_COLOUR,
}
_GAP = 1.2
"""Between families on a common axis, in bars."""


def draw_curves(traces: Sequence[Trace], policy: Policy) -> list[Markup]:
    """For each family, the score of every image against the setting; the medians in bold.

    Colours are those of the decision on the image as it is.
    """
    return [_curves(family, traces, policy) for family in FAMILIES]


def draw_effects(summary: Summary) -> Markup:
    """For each alteration, how far the score moves, and under it how many decisions change and flip."""
    figure = new_figure(12.6, 6.0)
    above, below = figure.subplots(2, 1, sharex=True)
    places = _places()
    _draw_moves(above, places, summary.effects)
    _draw_changes(below, places, summary.effects)
    below.set_xticks(places, [effect.alteration.family.shown(effect.alteration.setting) for effect in summary.effects])
    below.tick_params(axis="x", rotation=90, labelsize=8)
    for family in FAMILIES:
        own = places[[alteration.family is family for alteration in ALTERATIONS]]
        above.text(own.mean(), 1.02, family.name, transform=above.get_xaxis_transform(), ha="center", fontsize=8.5)
    for axes in (above, below):
        axes.grid(visible=False, axis="x")
    return svg_or_png(figure, "How far the score moves and how often the decision changes, by alteration")


def _curves(family: Family, traces: Sequence[Trace], policy: Policy) -> Markup:
    figure = new_figure(6.0, 3.6)
    axes = figure.subplots()
    settings = sorted((*family.settings, family.as_is))
    lines = _lines(family, settings, traces)
    for index in np.unique(np.linspace(0, len(traces) - 1, MOST_LINES).round().astype(int)) if traces else ():
        axes.plot(*_joined(lines[index]), color=_COLOURS[traces[index].as_is.decision], linewidth=0.7, alpha=0.35)
    for decision, colour in _COLOURS.items():
        own = lines[[trace.as_is.decision is decision for trace in traces]]
        if len(own):
            label = f"{decision} ({len(own)})"
            axes.plot(*_joined(_medians(own)), color=colour, linewidth=2.8, marker="o", markersize=4, label=label)
    if policy.rule is Rule.SUM:  # by the other rule, thresholds lie on another scale than the score
        for threshold in (policy.authentic_below, policy.synthetic_at):
            axes.axhline(threshold, color="#222222", linewidth=0.9, linestyle=(0, (4, 3)))
    labels = ["as is" if setting == family.as_is else family.shown(setting) for setting in settings]
    axes.set_xticks(range(len(settings)), labels, fontsize=8.5)
    axes.set(title=family.title, xlabel=family.axis, ylabel="score", ylim=(-0.03, 1.03))
    if traces:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
    return svg_or_png(figure, f"{family.title}: score against {family.axis}")


def _lines(family: Family, settings: Sequence[float], traces: Sequence[Trace]) -> NDArray[np.float64]:
    """Scores float64 [images, settings], the image as it is among them."""
    own = scores(traces)[:, [alteration.family is family for alteration in ALTERATIONS]]
    as_is = [trace.as_is.score for trace in traces]
    return np.insert(own, settings.index(family.as_is), np.array(as_is, np.float64), axis=1)


def _medians(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of each column, NaN where no image was scored."""
    return np.array([np.median(scored) if len(scored := column[np.isfinite(column)]) else np.nan for column in lines.T])


def _joined(line: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where `line` has values, and these: so that a plot bridges the settings that do not apply."""
    places = np.flatnonzero(np.isfinite(line))
    return places, line[places]


def _places() -> NDArray[np.float64]:
    """Where each alteration's bar stands, families apart."""
    return np.array([index + _GAP * FAMILIES.index(alteration.family) for index, alteration in enumerate(ALTERATIONS)])


def _draw_moves(axes: Axes, places: NDArray[np.float64], effects: Sequence[Effect]) -> None:
    axes.axhline(0, color="#222222", linewidth=0.9)
    for place, effect in zip(places, effects, strict=True):
        if effect.move is not None:
            axes.plot([place, place], [effect.move.low, effect.move.high], color="#8fb3d0", linewidth=4)
            axes.plot(place, effect.move.median, color="#12507b", marker="o", markersize=4)
    axes.set(ylabel="score moves by\n(median, 5–95 %)", ylim=(-1.03, 1.03))


def _draw_changes(axes: Axes, places: NDArray[np.float64], effects: Sequence[Effect]) -> None:
    flips = np.array([100 * effect.flips / max(1, effect.compared) for effect in effects])
    others = np.array([100 * (effect.changes - effect.flips) / max(1, effect.compared) for effect in effects])
    axes.bar(places, flips, color=SYNTHETIC_COLOUR, label="flips: authentic ↔ synthetic")
    axes.bar(places, others, bottom=flips, color="#e0b3b3", label="other changes: to or from inconclusive")
    axes.set(ylabel="decisions that change, %", ylim=(0, max(10.0, 1.25 * float((flips + others).max(initial=0)))))
    axes.legend(loc="upper right", fontsize=8.5, ncols=2)
