"""The table of routes in docs/http.md, made from the application.

`python -m tools.http_reference` rewrites what is between the markers; a test fails while they differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worker.serve.app import create_app
from worker.settings import Settings

PAGE = Path(__file__).parents[1] / "docs/http.md"
METHODS = ("get", "post", "put", "delete")


def main() -> None:
    """Rewrite the table."""
    PAGE.write_text(with_table(PAGE.read_text()))


def with_table(text: str) -> str:
    """`text` with the table between its markers generated."""
    return re.sub(
        r"(<!-- generated: routes, .*? -->\n).*?(<!-- end -->)", rf"\g<1>{_table()}\g<2>", text, flags=re.DOTALL
    )


def _table() -> str:
    # Nothing connects before the application is started.
    settings = Settings(database_url="postgresql://host/susy", redis_url="redis://host")
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(create_app(settings).openapi()))
    return f"| request | meaning | errors |\n| --- | --- | --- |\n{rows}"


def _rows(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for path, operations in document["paths"].items():
        for method in METHODS:
            if operation := operations.get(method):
                yield f"`{method.upper()} {path}`", operation["summary"], _codes(operation)


def _codes(operation: dict[str, Any]) -> str:
    """The error codes of a route by status, without those that every route has."""
    listed = []
    for status, answer in sorted(operation["responses"].items()):
        media = answer.get("content", {}).get("application/problem+json", {})
        if media and int(status) not in (401, 503):
            listed.append(f"{status} {', '.join(f'`{code}`' for code in sorted(media['examples']))}")
    return "; ".join(listed) or "–"


if __name__ == "__main__":
    main()
