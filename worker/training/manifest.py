"""The table of a rebuilt data set: one row an image, written by `worker.training.rebuild`, read by the evaluation."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

AUTHENTIC = "authentic"
COMPOSITES = "composites"
"""Label of authentic pictures with a rebuilt region."""
HELD_OUT_PREFIX = "held-out-"
"""Begins the label of images by a network that no class stands for."""
PHOTOGRAPH = "photograph"
"""Treatment of a photograph kept byte for byte."""


@dataclass(frozen=True)
class Row:
    """One image. `region` is "x y width height" in a composite, else empty."""

    path: str
    label: str
    split: str
    photograph: str
    treatment: str
    encoding: str
    region: str = ""


def read_manifest(path: Path) -> list[Row]:
    """The rows of a manifest."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Row(**row) for row in csv.DictReader(file)]


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a manifest, which need not exist yet."""
    names = [field.name for field in fields(Row)]
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)
