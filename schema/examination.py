"""An examination: everything one attempt learns about one image, ready to be recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from schema.scan import MapGrid, Scan
from schema.verdict import Verdict


@dataclass(frozen=True, eq=False)
class StoredScan:
    """A scan read from the ledger."""

    id: UUID
    scan: Scan
    has_map: bool
    """Whether the ledger holds its map, as PNG and as numbers."""


@dataclass(frozen=True, eq=False)
class ShadowVerdict:
    """What a policy that runs in shadow says of the scan; recorded, and without effect."""

    verdict: Verdict
    policy: Mapping[str, Any]
    """The whole policy as JSON."""


@dataclass(frozen=True)
class SourceVersion:
    """Which version of the image its source gave out."""

    etag: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, eq=False)
class Examination:
    """The measurement, the decision and the map of one image."""

    scan: Scan
    scan_id: UUID | None
    """The ledger's id of `scan` when it was reused unchanged; None when tiles were scored and it must be written."""
    map_png: bytes | None
    """The localization map as PNG; None without tiles, when the ledger holds the map, or when none was asked for."""
    verdict: Verdict
    policy: Mapping[str, Any]
    """The whole policy as JSON; `verdict.policy` is its name and version."""
    shadows: tuple[ShadowVerdict, ...] = ()
    source_version: SourceVersion = SourceVersion()
    audit_rate: float | None = None
    """The probability with which the content was drawn for an audit of the policy, (0, 1]; None when it was not."""
    map_grid: MapGrid | None = None
    """The numbers that `map_png` shows."""
