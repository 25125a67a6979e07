"""Each package says in which order to read it: every module is named there, and what is named exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT

ROOTS = ("schema", "susy_worker", "tools", "worker")
SMALL = 3
"""A package with fewer modules needs no order."""


def parts(package: Path) -> set[str]:
    """The modules and packages in a package."""
    return {
        path.stem
        for path in package.iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
    }


def description(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""


def order(package: Path) -> str:
    """The description from the sentence on that begins the order."""
    found = re.search(r"\b(Reading order|Read)\b.*", description(package), re.DOTALL)
    return found[0] if found else ""


def defined_in(package: Path) -> set[str]:
    """Names at the top of the package's modules."""
    trees = (ast.parse(path.read_text()) for path in package.glob("*.py"))
    return {name for tree in trees for node in tree.body if (name := getattr(node, "name", None))}


PACKAGES = sorted(
    init.parent.relative_to(CHECKOUT)
    for root in ROOTS
    for init in (CHECKOUT / root).rglob("__init__.py")
    if len(parts(init.parent)) >= SMALL
)


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_the_reading_order_of_a_package_names_each_of_its_modules(package: Path) -> None:
    named = set(re.findall(r"`(\w+)`", description(CHECKOUT / package)))
    assert sorted(parts(CHECKOUT / package) - named) == []


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_what_the_reading_order_of_a_package_names_exists(package: Path) -> None:
    folder = CHECKOUT / package
    words = set(re.findall(r"`([a-z]\w*)`", order(folder)))
    assert words, "the package has no reading order"
    assert sorted(words - parts(folder) - defined_in(folder)) == []
    files = set(re.findall(r"`(\w+\.(?:sql|toml|py))`", order(folder)))
    assert sorted(name for name in files if not (folder / name).exists()) == []
