import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from worker.lab.training.recipe import Recipe

PAGE = Path(__file__).parents[3] / "docs" / "training.md"


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, tuple):
        return "all four"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, str):
        return f'`"{default}"`'
    return "`1e-4`" if default == 1e-4 else f"`{default}`"


def test_the_page_lists_every_key_with_its_default() -> None:
    table = PAGE.read_text().partition("## All keys")[2].partition("## ")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\| ", table, flags=re.MULTILINE))
    expected = {}
    for field in fields(Recipe):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        expected[field.name] = "" if default is MISSING else _shown(default)
    assert listed == expected
    assert list(listed) == [field.name for field in fields(Recipe)]
