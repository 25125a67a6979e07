"""The code in README and docs: fenced blocks, indented blocks, and `susy` commands wherever they are written."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.support.checkout import CHECKOUT, DOCS, README

PAGES = (README, *sorted(DOCS.rglob("*.md")))

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|(?<=\A))(?: {4}.*\n|\n(?= {4}))+")
_INLINE = re.compile(r"`susy ([^`]*)`")
_CALLED = re.compile(r"(?:docker compose exec (?:-\w+ )?\w+ )?susy (.*)")
_NOTATION = str.maketrans("", "", "[]…")


@dataclass(frozen=True)
class Command:
    """A `susy` command as a page writes it."""

    page: str
    arguments: tuple[str, ...]
    whole: bool
    """Written as a line of its own, to be copied; a command in running text may leave arguments out."""

    def __str__(self) -> str:
        return f"{self.page}: susy {' '.join(self.arguments)}"


def fenced(page: Path, language: str) -> list[str]:
    """The contents of the page's fenced blocks of a language."""
    return [body for name, body in _FENCED.findall(page.read_text()) if name == language]


def indented(page: Path) -> list[str]:
    """The contents of the page's indented blocks."""
    text = _FENCED.sub("", page.read_text())
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in _INDENTED.findall(text)]


def lines(page: Path) -> list[str]:
    """Every line of a shell block, without comments."""
    blocks = [*fenced(page, "sh"), *indented(page)]
    return [stripped for block in blocks for line in block.splitlines() if (stripped := _uncommented(line))]


def commands() -> list[Command]:
    """Every `susy` command of every page."""
    found: list[Command] = []
    for page in PAGES:
        name = str(page.relative_to(CHECKOUT))
        for line in lines(page):
            for part in re.split(r"[|&;<>]+", line):
                if called := _CALLED.match(part.strip()):
                    found.append(Command(name, _words(called[1].translate(_NOTATION)), True))
        for inline in _INLINE.findall(_FENCED.sub("", page.read_text())):
            found.append(Command(name, _words(inline.translate(_NOTATION)), False))
    return found


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:  # a quotation mark of prose
        return ()


def _uncommented(line: str) -> str:
    return re.sub(r"(?:^|\s)#.*", "", line).strip()
