"""A scan's arrays as bytes and back, bit for bit.

All numbers are little-endian and in C order, whatever the machine, so that a reader in any language can use them:
`corners` int32 [T, 2], `contrast` float32 [T], `selected` and `scored` one byte a tile (0 or 1), `probabilities`
float16 [T, C] with NaN where a tile was not scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.scan import ModelIdentity, Scan, SelectionGrid, Tiling

_INT32, _FLOAT32, _FLOAT16, _BOOL = "<i4", "<f4", "<f2", "?"


@dataclass(frozen=True)
class ScanBytes:
    """The arrays of one scan as they are stored."""

    corners: bytes
    contrast: bytes
    selected: bytes
    scored: bytes
    probabilities: bytes


def to_bytes(scan: Scan) -> ScanBytes:
    """Encode the arrays of a scan."""
    return ScanBytes(
        corners=scan.corners.astype(_INT32).tobytes(),
        contrast=scan.contrast.astype(_FLOAT32).tobytes(),
        selected=scan.selected.astype(_BOOL).tobytes(),
        scored=scan.scored.astype(_BOOL).tobytes(),
        probabilities=scan.probabilities.astype(_FLOAT16).tobytes(),
    )


def from_bytes(
    stored: ScanBytes,
    *,
    content_sha256: str,
    model: ModelIdentity,
    tiling: str,
    width: int,
    height: int,
    format: str,
) -> Scan:
    """Decode the arrays of a scan; they are writable copies."""
    mode, stride = tiling.rsplit("-", 1)
    return Scan(
        content_sha256=content_sha256,
        model=model,
        tiling=Tiling(SelectionGrid(mode), int(stride)),
        width=width,
        height=height,
        format=format,
        corners=_array(stored.corners, _INT32, np.int32).reshape(-1, 2),
        contrast=_array(stored.contrast, _FLOAT32, np.float32),
        selected=_array(stored.selected, _BOOL, np.bool_),
        scored=_array(stored.scored, _BOOL, np.bool_),
        probabilities=_array(stored.probabilities, _FLOAT16, np.float16).reshape(-1, len(model.classes)),
    )


def _array(stored: bytes, little_endian: str, native: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(stored, dtype=little_endian).astype(native)
