"""The tables of settings in README.md and docs/settings.md, made from the fields of `Settings`.

`python -m tools.settings_table` rewrites what is between the markers; a test fails while they differ.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from worker.settings import Settings, facts, variable
from worker.settings.units import format_duration, format_size

CHECKOUT = Path(__file__).parents[1]
PAGES = (CHECKOUT / "README.md", CHECKOUT / "docs/settings.md")
"""Every page that holds such a table."""
LINE = 120


def main() -> None:
    """Rewrite the tables of all pages."""
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))


def with_tables(text: str) -> str:
    """`text` with the tables between its markers generated."""
    tables = {"essential settings": essential(), "settings in detail": details(), "renamed settings": renamed()}
    pieces = re.split(r"(<!-- generated: .*? -->\n)(.*?)(<!-- end -->)", text, flags=re.DOTALL)
    for begin in range(1, len(pieces), 4):
        (name,) = re.findall(r"<!-- generated: (.*?),", pieces[begin])
        pieces[begin + 1] = tables[name]
    return "".join(pieces)


def essential() -> str:
    """Name, default and the first sentence of what most installations set."""
    rows = (
        (f"`{variable(name)}`", _default(field), _sentence(field))
        for name, field in _fields()
        if facts(field)["is_essential"]
    )
    return _table(("variable", "default", "meaning"), rows)


def details() -> str:
    """A list with unit, limits, default and the whole description of every setting."""
    entries = []
    for name, field in _fields():
        form = ", ".join(part for part in (facts(field)["unit"], _limits(field)) if part)
        entries.append(f"- **`{variable(name)}`** ({form}; default: {_default(field)}): {field.description}")
    return "".join(f"{textwrap.fill(entry, LINE, subsequent_indent='  ')}\n" for entry in entries)


def renamed() -> str:
    """The names that the version before knew."""
    names = ((facts(field)["old_name"], name) for name, field in _fields())
    return _table(("old name", "name"), ((f"`{variable(old)}`", f"`{variable(name)}`") for old, name in names if old))


def _fields() -> Iterable[tuple[str, FieldInfo]]:
    return Settings.model_fields.items()


def _default(field: FieldInfo) -> str:
    if text := facts(field)["default_text"]:
        return text
    return "none" if field.default in (None, ()) else f"`{_shown(field.default, field)}`"


def _sentence(field: FieldInfo) -> str:
    return re.split(r"(?<=[.]) ", field.description or "")[0].removesuffix(".")


def _limits(field: FieldInfo) -> str:
    """The field's bounds."""
    signs = {"gt": ">", "ge": "≥", "le": "≤"}
    bounds = ((sign, getattr(part, name, None)) for name, sign in signs.items() for part in field.metadata)
    return ", ".join(f"{sign} {_shown(bound, field)}" for sign, bound in bounds if bound is not None)


def _shown(value: Any, field: FieldInfo) -> str:
    unit = facts(field)["unit"]
    if unit == "duration":
        return format_duration(value)
    if unit == "size":
        return format_size(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, Enum) else value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


if __name__ == "__main__":
    main()
