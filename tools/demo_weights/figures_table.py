"""Figures as a Markdown table, and beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools.demo_weights.finish import Figure

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def markdown(figures: Sequence[Figure]) -> str:
    """One row a figure."""
    head = "| images | figure | value | 95 % interval | n |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| {of.images} | {of.name} | {of.value:.3f} | {of.low:.3f}–{of.high:.3f} | {of.count} |\n" for of in figures
    )


def insert(page: Path, figures: Sequence[Figure]) -> None:
    """Put the table between the page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(figures)}{END}{after}", encoding="utf-8")


def compared(here: Sequence[Figure], published: Sequence[Figure]) -> list[tuple[Figure, Figure, bool]]:
    """Each published figure, the same one here, and whether that lies in the published interval."""
    ours = {(figure.images, figure.name): figure for figure in here}
    return [
        (then, now, then.low <= now.value <= then.high)
        for then in published
        if (now := ours.get((then.images, then.name)))
    ]
