"""Keeping and finding scans: one a content, weights and tiling, whoever submitted it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from schema.scan import ModelIdentity, Scan
from worker.store import queries
from worker.store.arrays import ScanBytes, from_bytes, to_bytes
from worker.store.database import Connection, scalars
from worker.store.types import StoredScan


def keep_scan(connection: Connection, scan: Scan | StoredScan, map_png: bytes | None) -> UUID:
    """Write what the ledger does not have yet; the id of the scan that stands for this content."""
    if isinstance(scan, StoredScan):
        if map_png is not None and not scan.has_map:
            connection.execute(queries.ADD_MAP, {"id": scan.id, "map_png": map_png})
        return scan.id
    key = {
        "content_sha256": scan.content_sha256,
        "weights_sha256": scan.model.sha256,
        "tiling": str(scan.tiling),
    }
    values: dict[str, Any] = {
        "id": uuid7(),
        **key,
        "model_name": scan.model.name,
        "classes": list(scan.model.classes),
        "is_demo": scan.model.is_demo,
        "width": scan.width,
        "height": scan.height,
        "format": scan.format,
        "tiles_total": len(scan.corners),
        "tiles_scored": int(scan.scored.sum()),
        **asdict(to_bytes(scan)),
        "map_png": map_png,
    }
    written = scalars(connection, queries.KEEP_SCAN, values)
    scan_id: UUID = (written or scalars(connection, queries.KEPT_SCAN, key))[0]
    return scan_id


def stored_scan(
    *,
    id: UUID,
    has_map: bool,
    content_sha256: str,
    weights_sha256: str,
    tiling: str,
    model_name: str,
    classes: list[str],
    is_demo: bool,
    width: int,
    height: int,
    format: str,
    **arrays: bytes,
) -> StoredScan:
    """Make a scan of the columns that the queries for one select."""
    scan = from_bytes(
        ScanBytes(**arrays),
        content_sha256=content_sha256,
        model=ModelIdentity(model_name, weights_sha256, tuple(classes), is_demo),
        tiling=tiling,
        width=width,
        height=height,
        format=format,
    )
    return StoredScan(id, scan, has_map)
