"""Decisions that change: what backtests, applications of policies and undoing them count."""

from __future__ import annotations

from dataclasses import dataclass

from schema.states import Decision


@dataclass(frozen=True)
class Flip:
    """Checks of one source and generator whose decision changes."""

    source: str
    generator: str | None
    """The generator that the present verdict names."""
    before: Decision
    after: Decision
