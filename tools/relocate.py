"""Builds the wheel: the checkout's packages inside the one package `susy_worker`, with their imports renamed.

A build hook of hatchling. `worker`, `schema` and `migrations` are short names for those who work on the code, but at
the top of site-packages they would collide with PyPI's `schema` and with modules that users' own projects have. Java's
build tools call this relocation.
"""

from __future__ import annotations

import ast
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "susy_worker"
RELOCATED = ("worker", "schema", "migrations")
_MODULE_NAME = re.compile(rf"(?:{'|'.join(RELOCATED)})(?:\.\w+)+(?::\w+)?")


class RelocationHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the relocated packages to a wheel. An editable installation is the checkout as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            self._folder = tempfile.mkdtemp(prefix="susy-wheel-")
            build_data["force_include"][str(relocate(Path(self.root), Path(self._folder)))] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version == "standard":
            shutil.rmtree(self._folder)


def relocate(checkout: Path, target: Path) -> Path:
    """Copy the packages into `target`/susy_worker, and return that folder. Raises `ValueError` as `renamed` does."""
    package = target / PACKAGE
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(checkout / PACKAGE, package, ignore=ignore)
    for name in RELOCATED:
        shutil.copytree(checkout / name, package / name, ignore=ignore)
    for module in package.rglob("*.py"):
        try:
            module.write_text(renamed(module.read_text(encoding="utf-8")), encoding="utf-8")
        except ValueError as error:
            raise ValueError(f"{module.relative_to(package)}: {error}") from None
    return package


def renamed(source: str) -> str:
    """The source of a module with its imports of relocated packages renamed.

    Raises `ValueError` for what would not work in the wheel: another form of import, and a string that names a module.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), level=0) if _is_relocated(module):
                _replace(lines, node, f"from {module} ", f"from {PACKAGE}.{module} ")
            case ast.Import(names=[ast.alias(name=name, asname=None)]) if name in RELOCATED:
                _replace(lines, node, f"import {name}", f"from {PACKAGE} import {name}")
            case ast.Import(names=names) if any(_is_relocated(alias.name) for alias in names):
                raise ValueError(f"line {node.lineno}: write `from package import name`")
            case ast.Constant(value=str(text)) if _MODULE_NAME.fullmatch(text):
                raise ValueError(f"line {node.lineno}: {text!r} names a module of the checkout; use __name__")
    return "".join(lines)


def _is_relocated(module: str) -> bool:
    return module.partition(".")[0] in RELOCATED


def _replace(lines: list[str], node: ast.stmt, old: str, new: str) -> None:
    line = lines[node.lineno - 1]
    before, statement = line[: node.col_offset], line[node.col_offset :]
    if not statement.startswith(old):
        raise ValueError(f"line {node.lineno}: the import is not on one line")
    lines[node.lineno - 1] = before + new + statement.removeprefix(old)
