"""The pages: lines that fit a terminal, links that lead to files, one form of decisions, each thing said once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT

PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])
LONGEST = 120
DECISIONS = sorted(CHECKOUT.glob("docs/decisions/*.md"))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_lines_have_at_most_120_characters_outside_tables_and_code(page: Path) -> None:
    is_code = False
    too_long = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif len(line) > LONGEST and not is_code and not line.startswith(("|", "    ")):
            too_long.append(number)
    assert too_long == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_relative_links_lead_to_files(page: Path) -> None:
    targets = [page.parent / target for target in LINK.findall(page.read_text())]
    assert [str(target) for target in targets if not target.exists()] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_a_numbered_title_a_context_a_choice_and_consequences(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {int(page.stem[:4])}. ")
    assert re.findall(r"^\*\*(Context|Choice|Consequences)\.\*\*", text, re.MULTILINE) == [
        "Context",
        "Choice",
        "Consequences",
    ]


def test_the_changelog_has_no_line_twice() -> None:
    lines = [line for line in (CHECKOUT / "CHANGELOG.md").read_text().splitlines() if len(line) > 30]
    assert [line for line, count in Counter(lines).items() if count > 1] == []


def test_the_glossary_defines_each_term_once() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\*", (CHECKOUT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert len(terms) > 50
    assert [term for term, count in Counter(terms).items() if count > 1] == []
