"""The checkout that is under test."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
"""The repository's top folder."""
README = CHECKOUT / "README.md"
DOCS = CHECKOUT / "docs"
