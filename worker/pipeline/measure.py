"""From pixels to a scan: lay tiles over the image, select those of highest contrast, score them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schema.scan import MAX_TILES, ModelIdentity, Scan, SelectionGrid, Tiling
from worker.detector.contrast import SELECTED_TILES, highest, tile_contrasts
from worker.detector.tiles import Grid, coverage_grid, cut, reference_grid
from worker.intake.decode import Image
from worker.pipeline.signals import measure_signals


class Scorer(Protocol):
    """What scores tiles: a detector, or whatever takes its place in tools and tests."""

    @property
    def identity(self) -> ModelIdentity: ...

    def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Class probabilities float32 [T, C] of T tiles uint8 [224, 224, 3]."""
        ...


def measure(image: Image, content_sha256: str, tiling: Tiling, scorer: Scorer) -> Scan:
    """A scan of `image` whose selected tiles are scored. An image smaller than a tile has no tiles."""
    layout = lay_out(image.pixels, tiling)
    unscored = Scan(
        content_sha256=content_sha256,
        model=scorer.identity,
        tiling=tiling,
        width=image.width,
        height=image.height,
        format=image.format,
        corners=layout.corners,
        contrast=layout.contrast.astype(np.float32),
        selected=layout.selected,
        scored=np.zeros(len(layout.corners), np.bool_),
        probabilities=np.full((len(layout.corners), len(scorer.identity.classes)), np.nan, np.float16),
        signals=measure_signals(image),
    )
    return _score(unscored, layout.selected, image, scorer)


def complete(scan: Scan, image: Image, scorer: Scorer, max_tiles: int = MAX_TILES) -> Scan:
    """`scan` of `image` with the remaining tiles of the map scored too, at most `max_tiles` in all."""
    wanted = map_tiles(scan, max_tiles)
    scored = _score(scan, wanted & ~scan.scored, image, scorer)
    return replace(scored, map_sampled=not wanted.all(), signals=scan.signals or measure_signals(image))


def map_tiles(scan: Scan, max_tiles: int) -> NDArray[np.bool_]:
    """Which tiles [T] the map of `scan` is made from: all, unless they are more than `max_tiles`.

    Then they are the selected ones and a grid of twice the stride, or three times, and so on, that is small enough. It
    ends at the edges of the image, as every grid does.
    """
    if len(scan.corners) <= max_tiles:
        return np.ones(len(scan.corners), np.bool_)
    room, stride = max_tiles - int(scan.selected.sum()), scan.tiling.stride
    while len(grid := coverage_grid(scan.width, scan.height, stride)) > room:
        stride += scan.tiling.stride
    return scan.selected | np.isin(_places(scan.corners, scan.width), _places(grid, scan.width))


@dataclass(frozen=True, eq=False)
class Layout:
    """The T tiles of an image, row by row."""

    corners: Grid
    """int32 [T, 2], in pixels."""
    contrast: NDArray[np.float64]
    """[T]."""
    selected: NDArray[np.bool_]
    """[T]: the tiles of highest contrast among the candidates."""


def lay_out(pixels: NDArray[np.uint8], tiling: Tiling, count: int | None = SELECTED_TILES) -> Layout:
    """The tiles of pixels uint8 [H, W, 3], of which at most `count` are selected; None selects all candidates.

    Every part of the project that selects tiles of an image calls this function.
    """
    height, width = pixels.shape[:2]
    corners, candidates = lay_tiles(width, height, tiling)
    contrast = tile_contrasts(pixels, corners)
    selected = np.zeros(len(corners), np.bool_)
    selected[candidates[highest(contrast[candidates], count)]] = True
    return Layout(corners, contrast, selected)


def lay_tiles(width: int, height: int, tiling: Tiling) -> tuple[Grid, NDArray[np.intp]]:
    """The tiles of an image, row by row, and the indices [K] of those that may be selected.

    The map's tiles cover every pixel at the tiling's stride. The candidates for selection lie 224 px apart; in
    `reference` mode, or when the stride does not divide 224, some candidates are not tiles of the map and are added.
    """
    candidates = (
        reference_grid(width, height) if tiling.mode is SelectionGrid.REFERENCE else coverage_grid(width, height)
    )
    places = _places(coverage_grid(width, height, tiling.stride), width)
    selectable = _places(candidates, width)
    union = np.union1d(places, selectable)
    corners = np.stack([union % width, union // width], axis=1).astype(np.int32)
    return corners, np.searchsorted(union, selectable)


def _places(grid: Grid, width: int) -> NDArray[np.int64]:
    """One sortable number per corner: the index of its pixel in row-major order."""
    return grid[:, 1].astype(np.int64) * width + grid[:, 0]


def _score(scan: Scan, which: NDArray[np.bool_], image: Image, scorer: Scorer) -> Scan:
    probabilities = scan.probabilities.copy()
    # Rounded to what the ledger stores before anything is decided, so that a verdict made now equals one made later
    # from the stored scan.
    probabilities[which] = scorer.score(cut(image.pixels, scan.corners[which])).astype(np.float16)
    return replace(scan, probabilities=probabilities, scored=scan.scored | which)
