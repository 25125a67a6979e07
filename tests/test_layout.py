"""A file of tests is found by the name of what it tests, in the folder of the same name as the code's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT

TESTS = CHECKOUT / "tests"
CROSSING = {"acceptance", "backlog", "chaos", "cli", "deployment", "examples", "packaging"}
"""Folders of tests that cross modules."""
OF_THE_CHECKOUT = {"test_docs.py", "test_layout.py", "test_reading_order.py"}
ROOTS = ("worker", "schema", "tools", "susy_worker", ".")
FILES = sorted(
    path.relative_to(TESTS)
    for path in TESTS.rglob("test_*.py")
    if path.relative_to(TESTS).parts[0] not in CROSSING | OF_THE_CHECKOUT
)


def names(folder: Path) -> set[str]:
    """What tests in this folder may be named after: the modules and packages of the code's folder, and it itself.

    The SQL that the store runs is in `schema` and `migrations`.
    """
    places = [CHECKOUT / root / folder for root in ROOTS if (CHECKOUT / root / folder).is_dir()]
    found = {path.stem for place in places for path in place.iterdir() if path.suffix == ".py" or path.is_dir()}
    if folder == Path("store"):
        found |= {path.stem for name in ("schema", "migrations") for path in (CHECKOUT / name).iterdir()} | {"schema"}
    if folder == Path("support"):
        found |= {path.stem for path in (TESTS / folder).iterdir()}
    if folder == Path("hooks"):
        found |= {path.stem for path in (CHECKOUT / "worker/hooks/senders").iterdir()}
    return found | {folder.name}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_of_tests_is_named_after_what_it_tests(file: Path) -> None:
    words = file.stem.split("_")[1:]
    assert {"_".join(words[:count]) for count in range(1, len(words) + 1)} & names(file.parent)
