"""How commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from worker.errors import SusyError, TransientError, printable

_PIPED_WIDTH = 200  # a pipe has no edge to fold tables at


class PlainConsole(Console):
    """A console to which every string is data: neither markup nor emoji codes, control characters escaped.

    What is styled comes as `Text`.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


out = PlainConsole(width=None if sys.stdout and sys.stdout.isatty() else _PIPED_WIDTH)
notes = PlainConsole(stderr=True)

_COLOURS = {"authentic": "green", "synthetic": "red", "inconclusive": "yellow"}
_UNPRINTABLE = re.compile(r"[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def prepare_streams() -> None:
    """Make stdout and stderr accept every text, whatever the locale: what they cannot encode is written as an escape.

    A stream that the caller closed discards what is written, as a daemon's may. Opened before anything else is, so that
    no socket or file gets its number and receives what a library prints.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors="backslashreplace")


def print_json(document: Mapping[str, Any]) -> None:
    """One object on one line. Characters that a terminal would interpret are escaped, as JSON allows."""
    line = json.dumps(document, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"))
    print(_UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", line), flush=True)


def error_document(error: SusyError) -> dict[str, str]:
    """The `error` member of a failed item."""
    return {"code": str(error.code), "message": error.message}


def progress_bar(*, beside_output: bool = False) -> Progress:
    """A bar on stderr with count and time; silent when stderr is not a terminal.

    `beside_output`: stdout is printed to while the bar runs. On the same terminal that output takes the bar's place.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=notes,
        disable=not notes.is_terminal or (beside_output and out.is_terminal),
        redirect_stdout=False,  # Rich would send what is printed on stdout to stderr, folded at the terminal's width
    )


@contextmanager
def resumable(*, is_writing: bool) -> Iterator[None]:
    """Around a command that writes in batches: where it is interrupted, say that it resumes when it is repeated."""
    try:
        yield
    except (KeyboardInterrupt, TransientError):
        if is_writing:
            notes.print("The batches that were written stay. Run the same command again to resume.")
        raise


def table(*columns: str) -> Table:
    """A plain table whose first column folds rather than loses letters."""
    first, *others = columns
    made = Table(Column(first, overflow="fold"), *(Column(name, no_wrap=name == "decision") for name in others))
    made.box, made.pad_edge = None, False
    return made


def coloured(decision: str) -> Text:
    """The decision in its colour."""
    return Text(decision, style=_COLOURS.get(decision, ""))


def shown_score(score: float | None) -> str:
    """A score as people read it; a dash when nothing was scored."""
    return "–" if score is None else f"{score:.3f}"


def shown_duration(seconds: float | None) -> str:
    """A duration for people; a dash when there is none."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"
    return f"{seconds / 86400:.1f} days"
