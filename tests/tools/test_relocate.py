"""The wheel's packages: which imports are renamed, and what is refused."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT
from tools.relocate import PACKAGE, RELOCATED, relocate, renamed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("from worker.errors import A\n", "from susy_worker.worker.errors import A\n"),
        ("from schema import states\n", "from susy_worker.schema import states\n"),
        ("import migrations\n", "from susy_worker import migrations\n"),
        ("def f():\n    from worker.log import (\n        a,\n    )\n",
         "def f():\n    from susy_worker.worker.log import (\n        a,\n    )\n"),
        ("from workers import a\nimport schematics\n", "from workers import a\nimport schematics\n"),
        ('"""from worker.errors import A"""\n', '"""from worker.errors import A"""\n'),
    ],
)  # fmt: skip
def test_import_statements_are_renamed_and_nothing_else(given: str, expected: str) -> None:
    assert renamed(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        "import worker.errors\n",
        "import schema as s\n",
        "import os, schema\n",
        'name = "worker.queue.app:app"\n',
        'run([sys.executable, "-m", "worker", "up"])\n',
        "ü = 1; from worker import errors\n",
        "from  worker import errors\n",
    ],
)
def test_what_would_not_work_in_the_wheel_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        renamed(given)


def test_lines_stay_where_they_were() -> None:
    source = 'TEXT = """\x0c\u2028"""\nfrom worker import errors\n'
    assert renamed(source) == source.replace("from worker", "from susy_worker.worker")


@pytest.mark.parametrize(("name", "content"), [("notes.txt", ""), ("script.py.mako", "from worker import errors\n")])
def test_a_file_that_is_not_understood_ends_the_build(tmp_path: Path, name: str, content: str) -> None:
    for package in (PACKAGE, *RELOCATED):
        (tmp_path / "checkout" / package).mkdir(parents=True)
    (tmp_path / "checkout" / "migrations" / name).write_text(content)
    with pytest.raises(ValueError, match=f"migrations/{name}"):
        relocate(tmp_path / "checkout", tmp_path / "target")


def test_no_module_of_the_package_imports_one_of_the_checkout(tmp_path: Path) -> None:
    package = relocate(CHECKOUT, tmp_path)
    modules = list(package.rglob("*.py"))
    assert len(modules) > 100
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                )
                assert not any(name.partition(".")[0] in RELOCATED for name in names), module
