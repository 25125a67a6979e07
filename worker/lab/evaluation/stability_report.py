"""The files of a stability run: one page with plots and pictures, and the same figures as JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.states import Decision
from worker.files import write_atomically
from worker.intake.decode import decode
from worker.lab.evaluation.alterations import ALTERATIONS, FAMILIES, Family
from worker.lab.evaluation.html import AUTHENTIC_COLOUR, SYNTHETIC_COLOUR, image_tag, new_figure, render
from worker.lab.evaluation.stability import (
    Effect,
    ImageOutcomes,
    Summary,
    altered_scores,
    is_change,
    is_flip,
    score_moves,
    summary_document,
)
from worker.lab.imaging import thumbnail_uri
from worker.pipeline.examine import Examiner
from worker.policy.policy import Policy, Rule
from worker.sources.files import display_path

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

MOST_CARDS = 12
MOST_LINES = 120
"""Thin lines in one plot; of more images, as many are drawn, evenly chosen."""
_CARD_SIDE = 480  # pixels
_COLOURS = {
    Decision.AUTHENTIC: AUTHENTIC_COLOUR,
    Decision.INCONCLUSIVE: "#7a7a7a",
    Decision.SYNTHETIC: SYNTHETIC_COLOUR,
}
_GAP = 1.2  # between families on a common axis, in bars


def stability_document(summary: Summary, examiner: Examiner, policy: Policy) -> dict[str, Any]:
    """The weights, the policy and the figures, as `--json` prints them."""
    model = examiner.scorer.identity
    return {
        "model": {"name": model.name, "sha256": model.sha256, "is_demo": model.is_demo},
        "policy": {"name": policy.version.name, "version": policy.version.version, "document": policy.document},
        "tiling": str(examiner.tiling),
        **summary_document(summary),
    }


def write_report(
    folder: Path, summary: Summary, images: Sequence[ImageOutcomes], examiner: Examiner, policy: Policy
) -> Path:
    """Write `stability.json`, `scores.csv` and `report.html` into `folder`; the page's path."""
    scored = [image for image in images if image.as_is.score is not None]
    document = stability_document(summary, examiner, policy)
    page = render(
        "stability.html",
        summary=summary,
        document=document,
        effects=draw_effects(summary),
        curves=[draw_curves(family, scored, policy) for family in FAMILIES],
        cards=worst_cards(scored, examiner.max_pixels),
        most_lines=MOST_LINES,
    )
    write_atomically(folder / "stability.json", (json.dumps(document, indent=2) + "\n").encode())
    write_atomically(folder / "scores.csv", _table(images).encode())
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"


@dataclass(frozen=True)
class Card:
    """One of the images whose scores move farthest."""

    name: str
    picture: str
    """A JPEG as a `data:` URI."""
    as_is: str
    decision: str
    farthest: str
    farthest_by: str
    farthest_decision: str
    flips: int
    changes: int
    compared: int


def worst_cards(scored: Sequence[ImageOutcomes], max_pixels: int) -> list[Card]:
    """The images with the most flips, and then those whose scores move the farthest."""
    if not scored:
        return []
    moves = np.nan_to_num(np.abs(score_moves(scored)))
    flips = [sum(is_flip(image.as_is, outcome) for outcome in image.altered) for image in scored]
    order = sorted(range(len(scored)), key=lambda index: (-flips[index], -moves[index].max(initial=0)))
    return [
        _card(scored[index], int(moves[index].argmax()), max_pixels)
        for index in order[:MOST_CARDS]
        if moves[index].max(initial=0) > 0
    ]


def _card(image: ImageOutcomes, farthest: int, max_pixels: int) -> Card:
    outcome = image.altered[farthest]
    assert outcome is not None
    return Card(
        name=Path(display_path(image.path)).name,
        picture=thumbnail_uri(decode(image.path.read_bytes(), max_pixels).pixels, _CARD_SIDE),
        as_is=f"{image.as_is.score:.3f}",
        decision=str(image.as_is.decision),
        farthest=f"{outcome.score:.3f}",
        farthest_by=str(ALTERATIONS[farthest]),
        farthest_decision=str(outcome.decision),
        flips=sum(is_flip(image.as_is, other) for other in image.altered),
        changes=sum(is_change(image.as_is, other) for other in image.altered),
        compared=sum(other is not None and other.score is not None for other in image.altered),
    )


def _table(images: Sequence[ImageOutcomes]) -> str:
    """One row per image and alteration; a score is empty where nothing was scored."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "family", "setting", "score", "decision"))
    for image in images:
        path = display_path(image.path)
        writer.writerow((path, "as is", "", image.as_is.score, image.as_is.decision))
        for alteration, outcome in zip(ALTERATIONS, image.altered, strict=False):
            if outcome is not None:
                setting = f"{alteration.setting:g}"
                writer.writerow((path, alteration.family.name, setting, outcome.score, outcome.decision))
    return text.getvalue()


def draw_effects(summary: Summary) -> Markup:
    """For each alteration, how far the score moves, and below, how many decisions change and flip."""
    figure = new_figure(12.6, 6.0)
    above, below = figure.subplots(2, 1, sharex=True)
    places = _places()
    _draw_moves(above, places, summary.effects)
    _draw_changes(below, places, summary.effects)
    below.set_xticks(places, [effect.alteration.family.shown(effect.alteration.setting) for effect in summary.effects])
    below.tick_params(axis="x", rotation=90, labelsize=8)
    for family in FAMILIES:
        of_family = places[[alteration.family is family for alteration in ALTERATIONS]]
        above.text(
            of_family.mean(), 1.02, family.name, transform=above.get_xaxis_transform(), ha="center", fontsize=8.5
        )
    for axes in (above, below):
        axes.grid(visible=False, axis="x")
    return image_tag(figure, "How far the score moves and how often the decision changes, by alteration")


def draw_curves(family: Family, scored: Sequence[ImageOutcomes], policy: Policy) -> Markup:
    """The score of every image against the family's setting, and the medians in bold.

    Colours are those of the decision on the image as it is.
    """
    figure = new_figure(6.0, 3.6)
    axes = figure.subplots()
    settings = sorted((*family.settings, family.as_is))
    lines = _lines(family, settings, scored)
    for index in np.unique(np.linspace(0, len(scored) - 1, MOST_LINES).round().astype(int)) if scored else ():
        axes.plot(*_finite(lines[index]), color=_COLOURS[scored[index].as_is.decision], linewidth=0.7, alpha=0.35)
    for decision, colour in _COLOURS.items():
        of_decision = lines[[image.as_is.decision is decision for image in scored]]
        if len(of_decision):
            label = f"{decision} ({len(of_decision)})"
            axes.plot(
                *_finite(_medians(of_decision)), color=colour, linewidth=2.8, marker="o", markersize=4, label=label
            )
    if policy.rule is Rule.SUM:  # with the other rule, thresholds are on another scale than the score
        for threshold in (policy.authentic_below, policy.synthetic_at):
            axes.axhline(threshold, color="#222222", linewidth=0.9, linestyle=(0, (4, 3)))
    labels = ["as is" if setting == family.as_is else family.shown(setting) for setting in settings]
    axes.set_xticks(range(len(settings)), labels, fontsize=8.5)
    axes.set(title=family.title, xlabel=family.axis, ylabel="score", ylim=(-0.03, 1.03))
    if scored:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
    return image_tag(figure, f"{family.title}: score against {family.axis}")


def _lines(family: Family, settings: Sequence[float], scored: Sequence[ImageOutcomes]) -> NDArray[np.float64]:
    """Scores float64 [images, settings], including those of the images as they are."""
    of_family = altered_scores(scored)[:, [alteration.family is family for alteration in ALTERATIONS]]
    as_is = [image.as_is.score for image in scored]
    return np.insert(of_family, settings.index(family.as_is), np.array(as_is, np.float64), axis=1)


def _medians(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of each column, NaN where no image was scored."""
    return np.array([np.median(finite) if len(finite := column[np.isfinite(column)]) else np.nan for column in lines.T])


def _finite(line: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Indices and values of a line where it is finite, so that a plot bridges settings that do not apply."""
    places = np.flatnonzero(np.isfinite(line))
    return places, line[places]


def _places() -> NDArray[np.float64]:
    """Position of each alteration's bar, with gaps between families."""
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
