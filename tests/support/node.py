"""Packages of the examples for Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_INSTALL = ("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefer-offline")


def install_packages(folder: Path) -> None:
    """Install what `package.json` in `folder` names, from the registry that npm is configured with.

    Skips the test where there is no Node.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("there is no npm")
    installed = subprocess.run(_INSTALL, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert installed.returncode == 0, f"npm cannot install: {installed.stderr[-300:]}"
