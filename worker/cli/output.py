"""How commands speak: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from worker.errors import SusyError

_PIPED_WIDTH = 200  # a pipe has no edge to fold tables at

out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
notes = Console(stderr=True, highlight=False)

_COLOURS = {"authentic": "green", "synthetic": "red", "inconclusive": "yellow"}


def print_json(document: Mapping[str, Any]) -> None:
    """One object on one line."""
    print(json.dumps(document, ensure_ascii=False), flush=True)


def error_document(error: SusyError) -> dict[str, str]:
    """The `error` member of a failed item."""
    return {"code": str(error.code), "message": error.message}


def progress_bar() -> Progress:
    """A bar on stderr with count and time; silent when nobody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=notes,
        disable=not notes.is_terminal,
    )


def table(*columns: str) -> Table:
    """A plain table whose first column folds rather than loses letters."""
    first, *others = columns
    made = Table(Column(first, overflow="fold"), *(Column(name, no_wrap=name == "decision") for name in others))
    made.box, made.pad_edge = None, False
    return made


def coloured(decision: str) -> str:
    """The decision in its colour, as rich markup."""
    colour = _COLOURS.get(decision)
    return f"[{colour}]{decision}[/]" if colour else decision


def shown_score(score: float | None) -> str:
    """A score as people read it; a dash when nothing was scored."""
    return "–" if score is None else f"{score:.3f}"
