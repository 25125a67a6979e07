"""A hooks file, and what the ledger has after events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.databases import Sql
from worker.hooks.mapping import HooksFile, load_hooks

MAPPINGS = """
[[mapping]]
location = "s3://uploads/"
source = "uploads"

[[mapping]]
location = "s3://uploads/avatars/"
source = "avatars"
suffixes = [".png"]
metadata = ["user"]
"""


@pytest.fixture
def hooks_path(tmp_path: Path) -> Path:
    path = tmp_path / "hooks.toml"
    path.write_text(MAPPINGS)
    return path


@pytest.fixture
def hooks(hooks_path: Path) -> HooksFile:
    return load_hooks(hooks_path)


@pytest.fixture
def external_ids(run: Sql) -> Callable[[], list[str]]:
    """The external ids of all checks, in their order of time."""
    return lambda: [name for (name,) in run("SELECT external_id FROM susy.checks ORDER BY id")]
