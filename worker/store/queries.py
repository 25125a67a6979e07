"""The statements of `queries*.sql` as attributes: `queries.CLAIM` is the text below `-- CLAIM:`.

A line `:NAME` stands for the text below `-- Part NAME:` further up in the same file, which several statements share.
"""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"-- (Part )?([A-Z_]+): ")
_PART = re.compile(r":([A-Z_]+)")


def _read(script: str) -> dict[str, str]:
    """Each statement by its name, without comments: psycopg would look for parameters in them."""
    statements: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in script.splitlines():
        if name := _NAME.match(line):
            lines = (parts if name[1] else statements).setdefault(name[2], [])
        elif part := _PART.fullmatch(line):
            lines += parts[part[1]]
        elif not line.startswith("--"):
            lines.append(line)
    return {name: "\n".join(lines).strip() for name, lines in statements.items()}


STATEMENTS = {
    name: statement
    for path in sorted(Path(__file__).parent.glob("queries*.sql"))
    for name, statement in _read(path.read_text(encoding="utf-8")).items()
}
"""All of them, in the order of the files."""


def __getattr__(name: str) -> str:
    try:
        return STATEMENTS[name]
    except KeyError:
        raise AttributeError(f"queries*.sql has no statement {name}") from None
