"""One line for what pydantic found wrong: in settings, policies, recipes, messages and arguments alike."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

MOST_PROBLEMS = 10
"""Problems that are named; of the others only the number is given."""
_LONGEST_KEY = 100


def describe_invalid(error: ValidationError, *, whole: str = "", name: Callable[[str], str] = str) -> str:
    """`key: what is wrong` for each problem, joined by semicolons. Values are left out, as they may be secrets.

    `whole` stands for the document where no single key is wrong; `name` turns a key into what its author calls it.
    """
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    lines = []
    for problem in problems[:MOST_PROBLEMS]:
        key = ".".join(_printable(str(part)) for part in problem["loc"])
        where = name(key) if key else whole
        lines.append((f"{where}: " if where else "") + problem["msg"].removeprefix("Value error, "))
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"{len(problems) - MOST_PROBLEMS} more problems")
    return "; ".join(lines)


def _printable(key: str) -> str:
    """A key as its author wrote it, with anything that a terminal or a database could not take escaped."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in key)
    return shown if len(shown) <= _LONGEST_KEY else f"{shown[:_LONGEST_KEY]}…"
