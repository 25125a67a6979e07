"""Many scans as arrays: what decisions look at, so that a thousand are decided in the time of a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from schema.scan import Scan, Signals


@dataclass(frozen=True, eq=False)
class ScanBatch:
    """What N scans by detectors with the same C classes measured, as far as a decision needs it."""

    classes: tuple[str, ...]
    """Class names by index; index 0 is the authentic class."""
    tiles: NDArray[np.float64]
    """[N, K, C]: the distributions of the tiles that make the score, in the order of the tiles; NaN beyond them. K is
    the largest of `counts`."""
    counts: NDArray[np.intp]
    """[N]: how many tiles make the score; may be 0."""
    contrast: NDArray[np.float64]
    """[N]: the highest contrast of a tile, 0..65025; NaN without tiles."""
    strongest: NDArray[np.float64]
    """[N]: the highest score of any scored tile, selected or not, 0..1; −∞ without one."""
    pixels: NDArray[np.int64]
    """[N]: width × height of the image."""
    is_demo: NDArray[np.bool_]
    """[N]: whether the weights were those of the demonstration."""
    measured: NDArray[np.bool_]
    """[N]: whether signals were measured. Where they were not, the following four say nothing."""
    animated: NDArray[np.bool_]
    """[N]; the signals are those of `Signals`."""
    jpeg_quality: NDArray[np.float64]
    """[N]; NaN for None, as in the following two."""
    resampling: NDArray[np.float64]
    palette_share: NDArray[np.float64]

    @classmethod
    def of(cls, scans: Sequence[Scan]) -> Self:
        """The arrays of one or more scans with the same classes."""
        return cls.joined(
            classes=scans[0].model.classes,
            lengths=[len(scan.corners) for scan in scans],
            contrast=np.concatenate([scan.contrast for scan in scans]),
            selected=np.concatenate([scan.selected for scan in scans]),
            scored=np.concatenate([scan.scored for scan in scans]),
            probabilities=np.concatenate([scan.probabilities for scan in scans]),
            pixels=[scan.width * scan.height for scan in scans],
            is_demo=[scan.model.is_demo for scan in scans],
            signals=[scan.signals for scan in scans],
        )

    @classmethod
    def joined(
        cls,
        *,
        classes: tuple[str, ...],
        lengths: Sequence[int],
        contrast: NDArray[np.float32],
        selected: NDArray[np.bool_],
        scored: NDArray[np.bool_],
        probabilities: NDArray[np.float16],
        pixels: Sequence[int],
        is_demo: Sequence[bool],
        signals: Sequence[Signals | None],
    ) -> Self:
        """From the tiles of all scans, one after the other: `lengths` says how many tiles each scan has."""
        tile_counts = np.array(lengths, np.intp)
        owners = np.repeat(np.arange(len(tile_counts)), tile_counts)
        chosen = selected & scored
        chosen_owners = owners[chosen]
        counts = np.bincount(chosen_owners, minlength=len(tile_counts))
        places = np.arange(len(chosen_owners)) - np.repeat(counts.cumsum() - counts, counts)
        tiles = np.full((len(counts), counts.max(initial=0), len(classes)), np.nan)
        tiles[chosen_owners, places] = probabilities[chosen]

        # A scan without tiles has no segment; the tiles up to the next start are those of the scan before.
        filled = tile_counts > 0
        starts = (tile_counts.cumsum() - tile_counts)[filled]
        highest, lowest = np.full(len(counts), np.nan), np.full(len(counts), np.inf)
        if len(starts):
            highest[filled] = np.maximum.reduceat(contrast, starts)
            authentic = np.where(scored, probabilities[:, 0].astype(np.float64), np.inf)
            lowest[filled] = np.minimum.reduceat(authentic, starts)
        return cls(
            classes=classes,
            tiles=tiles,
            counts=counts,
            contrast=highest,
            strongest=1 - lowest,
            pixels=np.array(pixels, np.int64),
            is_demo=np.array(is_demo, np.bool_),
            measured=np.array([each is not None for each in signals], np.bool_),
            animated=np.array([each is not None and each.animated for each in signals], np.bool_),
            jpeg_quality=_numbers([None if each is None else each.jpeg_quality for each in signals]),
            resampling=_numbers([None if each is None else each.resampling for each in signals]),
            palette_share=_numbers([None if each is None else each.palette_share for each in signals]),
        )


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(values, np.float64)  # None becomes NaN
