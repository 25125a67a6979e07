"""The table of hostile URLs in docs/safe-fetch.md, made from the file that the tests run.

`python -m tools.hostile_urls` rewrites what is between the markers; a test fails while they differ.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
TABLE = CHECKOUT / "tests/safe_http/hostile_urls.toml"
PAGE = CHECKOUT / "docs/safe-fetch.md"
_MARKED = re.compile(r"(<!-- generated: hostile URLs, .*? -->\n)(.*?)(<!-- end -->)", flags=re.DOTALL)


def main() -> None:
    """Rewrite the table."""
    PAGE.write_text(with_table(PAGE.read_text()))


def with_table(text: str) -> str:
    """`text` with the table between its markers generated."""
    refused = tomllib.loads(TABLE.read_text())["refused"]
    rows = ["| URL | what it is | refused as |", "| --- | --- | --- |", *map(_row, refused)]
    table = "".join(f"{row}\n" for row in rows)
    return _MARKED.sub(lambda found: found[1] + table + found[3], text)


def _row(entry: dict[str, Any]) -> str:
    what = entry["why"]
    if "resolves" in entry:
        what += f" ({', '.join(entry['resolves']) or 'none'})"
    if entry.get("redirect"):
        what = f"redirect {what}"
    return f"| {_shown(entry['url'])} | {what} | `{entry['code']}` |"


def _shown(url: str) -> str:
    """The URL as code; control characters as escapes."""
    if not url:
        return "no Location"
    shown = json.dumps(url, ensure_ascii=not url.isprintable())[1:-1].replace("\\\\", "\\").replace("|", "\\|")
    return f"`{shown}`"


if __name__ == "__main__":
    main()
