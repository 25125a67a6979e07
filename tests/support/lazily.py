"""Modules that are slow to import and used by a few tests: every process would import them while it collects."""

from __future__ import annotations

from typing import Any

import pytest


class ImportedWhenUsed:
    """Stands for the module `name` until an attribute is used; whoever uses it is skipped if it is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest, which asks everything that a module holds what it is
            raise AttributeError(attribute)
        return getattr(pytest.importorskip(self._name), attribute)
