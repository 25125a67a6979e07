"""Reading TOML files, and one line for what pydantic found wrong in them, in settings, messages and arguments."""

from __future__ import annotations

import errno
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from worker.files import read_regular_file

MOST_PROBLEMS = 10
"""Problems that are named; of the others only the number is given."""
_LONGEST_KEY = 100
_REWRITTEN = {
    "extra_forbidden": "there is no such key; correct its name, or remove it",
}
"""By pydantic's type of a problem, what to do, where its own words do not say it."""
MAX_TOML_BYTES = 1_000_000


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file. Raises `ValueError`, whose text continues "the file ", when it cannot be read."""
    try:
        content = read_regular_file(path, MAX_TOML_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ValueError(f"is larger than {MAX_TOML_BYTES} bytes") from error
        raise ValueError(f"cannot be read: {error.strerror}") from error
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8") from error
    except RecursionError as error:
        raise ValueError("is not valid TOML: it is nested too deeply") from error
    except ValueError as error:  # tomllib's own, and that of an integer with thousands of digits
        raise ValueError(f"is not valid TOML: {error}") from error


def describe_invalid(error: ValidationError, *, whole: str = "", name: Callable[[str], str] = str) -> str:
    """`key: what is wrong` for each problem, joined by semicolons. Values are left out, as they may be secrets.

    `whole` stands for the document where no single key is wrong; `name` turns a key into what its author calls it.
    """
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return describe_problems(problems, whole=whole, name=name)


def describe_problems(
    problems: Sequence[Mapping[str, Any]], *, whole: str = "", name: Callable[[str], str] = str
) -> str:
    """The same of pydantic's problems (`loc` and `msg`) as another library passes them on."""
    lines = []
    for problem in problems[:MOST_PROBLEMS]:
        key = ".".join(_printable(str(part)) for part in problem["loc"])
        where = name(key) if key else whole
        said = _REWRITTEN.get(problem.get("type", ""), problem["msg"].removeprefix("Value error, "))
        lines.append((f"{where}: " if where else "") + said)
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"{len(problems) - MOST_PROBLEMS} more problems")
    return "; ".join(lines)


def _printable(key: str) -> str:
    """A key as its author wrote it, with anything that a terminal or a database could not take escaped."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in key)
    return shown if len(shown) <= _LONGEST_KEY else f"{shown[:_LONGEST_KEY]}…"
