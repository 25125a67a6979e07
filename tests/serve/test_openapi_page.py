"""docs/http.md: its table is that of the application, and its examples, run in order, print what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any

import pytest

from tests.support.checkout import DOCS
from tests.support.commands import BIN, run
from tests.support.http_service import Service
from tools.http_reference import with_table
from worker.settings import Settings

PAGE = DOCS / "http.md"
EXAMPLES = re.findall(r"^```sh\n(.*?)^```$(?:\n\n^```json\n(.*?)^```$)?", PAGE.read_text(), re.MULTILINE | re.DOTALL)
"""Each shell block, and the JSON block that follows it at once, if there is one."""
PRINTED = {4: '"state":"cancelled"', 5: '"type":"image.check.cancelled"'}
"""What the blocks without a JSON block print, by their number."""
SEPARATOR = "\x1e"


def test_the_table_of_routes_is_that_of_the_application() -> None:
    assert PAGE.read_text() == with_table(PAGE.read_text()), "run python -m tools.http_reference"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
def test_the_examples_print_what_the_page_says(service: Service, settings: Settings) -> None:
    script = f"\nprintf '{SEPARATOR}'\n".join(block for block, _ in EXAMPLES)
    variables = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "SUSY_URL": service.url,
        "SUSY_DATABASE_URL": settings.require_database_url(),
    }
    result = run("bash", "-euo", "pipefail", "-c", script, **variables)
    assert result.code == 0, result.stderr
    printed = result.stdout.split(SEPARATOR)
    assert len(printed) == len(EXAMPLES) == 7
    for number, ((block, expected), answer) in enumerate(zip(EXAMPLES, printed, strict=True)):
        if expected:
            assert without_chance(json.loads(answer)) == without_chance(json.loads(expected)), block
        else:
            assert answer.strip() == PRINTED.get(number, ""), block


def without_chance(value: Any) -> Any:
    """A JSON value with its ids and times replaced."""
    if isinstance(value, dict):
        return {name: without_chance(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_chance(member) for member in value]
    if isinstance(value, str):
        named = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID", value)
        return re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$", "TIME", named)
    return value
