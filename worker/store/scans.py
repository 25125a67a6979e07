"""Scans in the ledger: one per content, weights, precision and tiling, whoever submitted the image.

The arrays are stored bit for bit. All numbers are little-endian and in C order on every machine, so that a reader in
any language can use them: `corners` int32 [T, 2], `contrast` float32 [T], `selected` and `scored` one byte per tile
(0 or 1), `probabilities` float16 [T, C] with NaN where a tile was not scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from schema.examination import Examination, StoredScan
from schema.scan import ModelIdentity, Precision, Scan, SelectionGrid, Signals, Tiling
from schema.scan_batch import ScanBatch
from worker.store import queries
from worker.store.connection import Connection
from worker.store.database import scalars

SCORE_STEPS = 10_000
"""A stored score of 1, so that a score takes two bytes."""

_INT32, _FLOAT32, _FLOAT16, _BOOL = "<i4", "<f4", "<f2", "?"


def keep_scan(connection: Connection, examination: Examination) -> UUID:
    """Write what the ledger lacks of the scan and its map; the id of the stored scan."""
    held = {"id": examination.scan_id}
    # A scan that `susy prune` deleted after it was found is written again.
    if examination.scan_id is not None and scalars(connection, queries.HOLD_SCAN, held):
        if examination.map_png is not None:
            connection.execute(queries.ADD_MAP, {"id": examination.scan_id, **map_columns(examination)})
        return examination.scan_id
    values = {"id": uuid7(), **scan_columns(examination.scan), **map_columns(examination)}
    written = scalars(connection, queries.KEEP_SCAN, values)
    scan_id: UUID = (written or scalars(connection, queries.KEPT_SCAN, values))[0]
    return scan_id


def scan_columns(scan: Scan) -> dict[str, Any]:
    """The columns of `susy.scans` that hold a scan."""
    return {
        "content_sha256": scan.content_sha256,
        "weights_sha256": scan.model.sha256,
        "tiling": str(scan.tiling),
        "precision": str(scan.model.precision),
        "model_name": scan.model.name,
        "classes": list(scan.model.classes),
        "is_demo": scan.model.is_demo,
        "width": scan.width,
        "height": scan.height,
        "format": scan.format,
        "tiles_total": len(scan.corners),
        "tiles_scored": int(scan.scored.sum()),
        "corners": scan.corners.astype(_INT32).tobytes(),
        "contrast": scan.contrast.astype(_FLOAT32).tobytes(),
        "selected": scan.selected.astype(_BOOL).tobytes(),
        "scored": scan.scored.astype(_BOOL).tobytes(),
        "probabilities": scan.probabilities.astype(_FLOAT16).tobytes(),
        "map_sampled": scan.map_sampled,
        "signals": None if scan.signals is None else Jsonb(asdict(scan.signals)),
    }


def map_columns(examination: Examination) -> dict[str, Any]:
    """The columns of `susy.scans` that hold the map: the picture, and its numbers in steps of 1 / 10,000."""
    grid = examination.map_grid
    if grid is None:
        return {"map_png": examination.map_png, "map_x_edges": None, "map_y_edges": None, "map_scores": None}
    scored = np.isfinite(grid.scores)
    steps = np.round(np.where(scored, grid.scores, 0) * SCORE_STEPS).astype(np.int16)
    rows = [
        [step if known else None for step, known in zip(*row, strict=True)]
        for row in zip(steps.tolist(), scored.tolist(), strict=True)
    ]
    return {
        "map_png": examination.map_png,
        "map_x_edges": grid.x_edges.tolist(),
        "map_y_edges": grid.y_edges.tolist(),
        "map_scores": rows,
    }


class ScanColumns(NamedTuple):
    """A scan as its queries select it, in this order; most of it is never looked at when thousands are decided."""

    id: UUID
    has_map: bool
    content_sha256: str
    weights_sha256: str
    tiling: str
    precision: str
    model_name: str
    classes: list[str]
    is_demo: bool
    width: int
    height: int
    format: str
    corners: bytes
    contrast: bytes
    selected: bytes
    scored: bytes
    probabilities: bytes
    map_sampled: bool
    signals: Mapping[str, Any] | None

    def scan(self) -> Scan:
        """The scan, its arrays decoded."""
        return stored_scan(**self._asdict()).scan


def scan_batch(scans: Sequence[ScanColumns]) -> ScanBatch:
    """What decisions look at of one or more scans with the same classes."""
    classes = tuple(scans[0].classes)
    probabilities = _array(b"".join(scan.probabilities for scan in scans), _FLOAT16, np.float16)
    return ScanBatch.joined(
        classes=classes,
        lengths=[len(scan.selected) for scan in scans],
        contrast=_array(b"".join(scan.contrast for scan in scans), _FLOAT32, np.float32),
        selected=_array(b"".join(scan.selected for scan in scans), _BOOL, np.bool_),
        scored=_array(b"".join(scan.scored for scan in scans), _BOOL, np.bool_),
        probabilities=probabilities.reshape(-1, len(classes)),
        pixels=[scan.width * scan.height for scan in scans],
        is_demo=[scan.is_demo for scan in scans],
        signals=[None if scan.signals is None else _signals(scan.signals) for scan in scans],
    )


def stored_scan(
    *,
    id: UUID,
    has_map: bool,
    content_sha256: str,
    weights_sha256: str,
    tiling: str,
    precision: str,
    model_name: str,
    classes: list[str],
    is_demo: bool,
    width: int,
    height: int,
    format: str,
    corners: bytes,
    contrast: bytes,
    selected: bytes,
    scored: bytes,
    probabilities: bytes,
    map_sampled: bool,
    signals: Mapping[str, Any] | None,
) -> StoredScan:
    """A scan from the columns that its queries select. Its arrays are writable copies."""
    mode, stride = tiling.rsplit("-", 1)
    scan = Scan(
        content_sha256=content_sha256,
        model=ModelIdentity(model_name, weights_sha256, tuple(classes), is_demo, Precision(precision)),
        tiling=Tiling(SelectionGrid(mode), int(stride)),
        width=width,
        height=height,
        format=format,
        corners=_array(corners, _INT32, np.int32).reshape(-1, 2),
        contrast=_array(contrast, _FLOAT32, np.float32),
        selected=_array(selected, _BOOL, np.bool_),
        scored=_array(scored, _BOOL, np.bool_),
        probabilities=_array(probabilities, _FLOAT16, np.float16).reshape(-1, len(classes)),
        map_sampled=map_sampled,
        signals=None if signals is None else _signals(signals),
    )
    return StoredScan(id, scan, has_map)


_KNOWN_SIGNALS = {field.name for field in fields(Signals)}


def _signals(document: Mapping[str, Any]) -> Signals:
    """The signals that this version knows; what another one measured is not looked at."""
    return Signals(**{name: value for name, value in document.items() if name in _KNOWN_SIGNALS})


def _array(stored: bytes, little_endian: str, native: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(stored, dtype=little_endian).astype(native)
