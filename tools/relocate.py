"""Builds the wheel: the checkout's packages inside the one package `susy_worker`, with their imports renamed.

A build hook of hatchling. `worker`, `schema` and `migrations` are short names for those who work on the code, but at
the top of site-packages they would collide with PyPI's `schema` and with modules that users' own projects have. Java's
build tools call this relocation. What the hook does not understand ends the build.
"""

from __future__ import annotations

import ast
import itertools
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "susy_worker"
RELOCATED = ("worker", "schema", "migrations")
DATA = {".columns", ".html", ".jpg", ".mako", ".md", ".png", ".privileges", ".safetensors", ".sql", ".toml", ".typed"}
"""Suffixes of the files that are copied as they are."""
_MODULE_NAME = re.compile(rf"(?:{'|'.join(RELOCATED)})(?:\.\w+)+(?::\w+)?")
_IMPORT = re.compile(rf"^\s*(?:from|import)\s+(?:{'|'.join(RELOCATED)})\b", re.MULTILINE)


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
    """Copy the packages into `target`/susy_worker, and return that folder.

    Raises `ValueError`, which names the file, as `renamed` does and for a file of an unknown kind.
    """
    package = target / PACKAGE
    for name in (PACKAGE, *RELOCATED):
        inside = package if name == PACKAGE else package / name
        for file in _files(checkout / name):
            copy = inside / file.relative_to(checkout / name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                copy.write_bytes(_content(file))
            except ValueError as error:
                raise ValueError(f"{file.relative_to(checkout)}: {error}") from None
    return package


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.parent.name != "__pycache__" and not file.name.startswith("."):
            yield file


def _content(file: Path) -> bytes:
    """What the wheel holds of a file."""
    content = file.read_bytes()
    if file.suffix == ".py":
        return renamed(content.decode("utf-8")).encode("utf-8")
    if file.suffix not in DATA:
        raise ValueError("a file of this kind does not belong into the wheel; remove it, or add its suffix to DATA")
    if file.suffix == ".mako" and _IMPORT.search(content.decode("utf-8")):
        raise ValueError("the template imports a module of the checkout")
    return content


def renamed(source: str) -> str:
    """The source of a module with its imports of relocated packages renamed, and every line where it was.

    Raises `ValueError` for what would not work in the wheel: another form of import, and a string that names a module.
    """
    lines = source.split("\n")
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
            case ast.List(elts=words) | ast.Tuple(elts=words) | ast.Call(args=words) if _runs_module(words):
                raise ValueError(f"line {node.lineno}: `-m` with a module of the checkout; use __name__")
    return "\n".join(lines)


def _is_relocated(module: str) -> bool:
    return module.partition(".")[0] in RELOCATED


def _runs_module(words: list[ast.expr]) -> bool:
    """Whether these words of a command hold `-m` and a relocated package."""
    texts = [word.value if isinstance(word, ast.Constant) else None for word in words]
    return any(
        option == "-m" and isinstance(module, str) and _is_relocated(module)
        for option, module in itertools.pairwise(texts)
    )


def _replace(lines: list[str], node: ast.stmt, old: str, new: str) -> None:
    line = lines[node.lineno - 1]
    before, statement = line[: node.col_offset], line[node.col_offset :]
    if not statement.startswith(old):
        raise ValueError(f"line {node.lineno}: write the import on a line of its own, as the formatter does")
    lines[node.lineno - 1] = before + new + statement.removeprefix(old)
