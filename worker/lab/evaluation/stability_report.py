"""What a stability run leaves behind: one page to look at, and its figures as JSON and CSV."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from schema.scan import ModelIdentity
from worker.files import write_atomically
from worker.intake.decode import decode
from worker.lab.evaluation.html import render
from worker.lab.evaluation.stability import Judge, Trace
from worker.lab.evaluation.stability_alterations import ALTERATIONS
from worker.lab.evaluation.stability_plots import MOST_LINES, draw_curves, draw_effects
from worker.lab.evaluation.stability_summary import Summary, is_change, is_flip, moves, summary_document

MOST_CARDS = 12
_CARD_SIDE = 480


@dataclass(frozen=True)
class Card:
    """One of the images whose scores move farthest."""

    name: str
    picture: str
    """A JPEG as a data URI."""
    as_is: str
    decision: str
    farthest: str
    farthest_by: str
    farthest_decision: str
    flips: int
    changes: int
    compared: int


def stability_document(summary: Summary, judge: Judge) -> dict[str, Any]:
    """What `--json` prints: who judged, by which policy, and the figures."""
    model: ModelIdentity = judge.scorer.identity
    return {
        "model": {"name": model.name, "sha256": model.sha256, "is_demo": model.is_demo},
        "policy": {
            "name": judge.policy.version.name,
            "version": judge.policy.version.version,
            "document": judge.policy.document,
        },
        "tiling": str(judge.tiling),
        **summary_document(summary),
    }


def write_report(folder: Path, summary: Summary, traces: Sequence[Trace], judge: Judge) -> Path:
    """Write `stability.json`, `scores.csv` and `report.html` into `folder`; the page's path."""
    scored = [trace for trace in traces if trace.as_is.score is not None]
    page = render(
        "stability.html",
        summary=summary,
        document=stability_document(summary, judge),
        effects=draw_effects(summary),
        curves=draw_curves(scored, judge.policy),
        cards=worst_cards(scored, judge),
        most_lines=MOST_LINES,
    )
    write_atomically(
        folder / "stability.json", (json.dumps(stability_document(summary, judge), indent=2) + "\n").encode()
    )
    write_atomically(folder / "scores.csv", _table(traces).encode())
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"


def worst_cards(scored: Sequence[Trace], judge: Judge) -> list[Card]:
    """The images whose decisions flip, and then those whose scores move, the most."""
    if not scored:
        return []
    moved = np.nan_to_num(np.abs(moves(scored)))
    flips = [sum(is_flip(trace.as_is, look) for look in trace.altered) for trace in scored]
    order = sorted(range(len(scored)), key=lambda index: (-flips[index], -moved[index].max(initial=0)))
    return [
        _card(scored[index], int(moved[index].argmax()), judge)
        for index in order[:MOST_CARDS]
        if moved[index].max(initial=0) > 0
    ]


def _card(trace: Trace, farthest: int, judge: Judge) -> Card:
    look = trace.altered[farthest]
    assert look is not None
    return Card(
        name=trace.path.name,
        picture=_picture(trace.path, judge.max_pixels),
        as_is=f"{trace.as_is.score:.3f}",
        decision=str(trace.as_is.decision),
        farthest=f"{look.score:.3f}",
        farthest_by=str(ALTERATIONS[farthest]),
        farthest_decision=str(look.decision),
        flips=sum(is_flip(trace.as_is, other) for other in trace.altered),
        changes=sum(is_change(trace.as_is, other) for other in trace.altered),
        compared=sum(other is not None and other.score is not None for other in trace.altered),
    )


def _picture(path: Path, max_pixels: int) -> str:
    picture = Pillow.fromarray(decode(path.read_bytes(), max_pixels).pixels)
    picture.thumbnail((_CARD_SIDE, _CARD_SIDE))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _table(traces: Sequence[Trace]) -> str:
    """One row an image and alteration; a score is empty where nothing was scored."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "family", "setting", "score", "decision"))
    for trace in traces:
        writer.writerow((trace.path, "as is", "", trace.as_is.score, trace.as_is.decision))
        for alteration, look in zip(ALTERATIONS, trace.altered, strict=False):
            if look is not None:
                row = (trace.path, alteration.family.name, f"{alteration.setting:g}", look.score, look.decision)
                writer.writerow(row)
    return text.getvalue()
