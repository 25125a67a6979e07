"""Durations and sizes as people write them: `90s`, `1h30m`, `50MB`, `48MiB`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

LONGEST_DURATION = 30 * 86400.0
"""Seconds; the largest `Duration`. Timers and intervals take it everywhere."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"


LONGEST = 365_000 * 86_400.0
"""Seconds of the longest duration that is accepted, about a thousand years."""


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `1500ms`, `1h30m` or a plain number. Raises `ValueError`."""
    compact = "".join(text.split())
    if re.fullmatch(_NUMBER, compact):
        return _possible(float(compact))
    if not re.fullmatch(rf"({_NUMBER}(ms|[smhd]))+", compact):
        raise ValueError("must be a duration, such as 90s, 1500ms, 5m or 1h30m; a plain number is seconds")
    parts = re.findall(rf"{_NUMBER}(ms|[smhd])", compact)
    return _possible(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def parse_size(text: str) -> int:
    """Bytes of `50MB`, `48MiB` or a plain number. Raises `ValueError`."""
    found = re.fullmatch(rf"{_NUMBER}([a-z]*)", "".join(text.split()).lower())
    if found is None or found[2] not in _BYTES:
        raise ValueError("must be a size, such as 50MB, 48MiB or 2GB; a plain number is bytes")
    size = float(found[1]) * _BYTES[found[2]]
    if size >= 2**63:
        raise ValueError("must be below 8 EiB")
    return round(size)


def _possible(seconds: float) -> float:
    # A time that lies so far from now can still be written as a date.
    if seconds > LONGEST:
        raise ValueError("must be at most 365000d")
    return seconds


def format_duration(seconds: float) -> str:
    """`seconds` in the largest unit that leaves a whole number."""
    for unit, factor in reversed(_SECONDS.items()):
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:.0f}{unit}"
    return f"{seconds:g}s"


def format_size(size: int) -> str:
    """`size` bytes in the largest decimal unit that leaves a whole number."""
    for unit in ("GB", "MB", "kB"):
        if size and size % _BYTES[unit.lower()] == 0:
            return f"{size // _BYTES[unit.lower()]}{unit}"
    return str(size)


def _from_text(parse: Any) -> BeforeValidator:
    """Text is parsed here; anything else is left to pydantic."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


Duration = Annotated[float, _from_text(parse_duration), Field(le=LONGEST_DURATION, allow_inf_nan=False)]
"""Seconds; text in the forms of `parse_duration`."""
Size = Annotated[int, _from_text(parse_size)]
"""Bytes; text in the forms of `parse_size`."""
