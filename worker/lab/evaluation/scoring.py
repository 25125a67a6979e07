"""Scoring many images while few are in memory: threads decode and cut tiles, the caller's thread runs the network."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worker.detector.contrast import SELECTED_TILES, highest, luma, tile_contrasts
from worker.detector.engine import Tile
from worker.detector.tiles import coverage_grid, cut
from worker.errors import SetupError
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.scorer import Scorer
from worker.lab.evaluation.variants import Alterations, Variant, alter

MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Treatment:
    """What is done to each image before the network sees it."""

    variants: tuple[Variant, ...] = (Variant.ORIGINAL,)
    alterations: Alterations = field(default_factory=Alterations)
    patches: int | None = SELECTED_TILES
    """How many tiles of highest contrast are scored; None for all."""


@dataclass(frozen=True, eq=False)
class Scores:
    """One variant of the images: N scored ones, with P tiles together."""

    entries: tuple[Entry, ...]
    logits: NDArray[np.float32]
    """[P, C], before the temperature; the tiles of an image follow one another."""
    image: NDArray[np.int64]
    """[P] which of `entries` a tile is of."""
    too_small: tuple[Entry, ...]
    """Images under 224 px on a side: they have no tile and no score."""


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read or decoded."""

    entry: Entry
    why: str


@dataclass(frozen=True, eq=False)
class Scored:
    """All variants of the images."""

    variants: dict[Variant, Scores]
    unreadable: tuple[Unreadable, ...]


@dataclass(eq=False)
class _Tally:
    """The tiles of one variant so far."""

    entries: list[Entry] = field(default_factory=list)
    too_small: list[Entry] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def add(self, entry: Entry, tiles: int) -> None:
        if not tiles:
            self.too_small.append(entry)
            return
        self.owners.extend([len(self.entries)] * tiles)
        self.entries.append(entry)


def score(
    entries: Sequence[Entry],
    scorer: Scorer,
    treatment: Treatment | None = None,
    *,
    skip_unreadable: bool = False,
    threads: int | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Scored:
    """The logits of each image's tiles, chosen as a worker chooses them: of a grid that covers every pixel, those of
    highest contrast.

    Each of `threads` threads (by default one a core) holds one decoded image at a time; batches are filled across
    images and variants. `advance` is called once an image. Memory grows only by the logits, about 40 bytes a tile.
    Raises `InputDataError` (`data_invalid`) for the first unreadable image, unless `skip_unreadable`.
    """
    treatment = treatment or Treatment()
    threads = threads or len(os.sched_getaffinity(0))
    tallies = {variant: _Tally() for variant in treatment.variants}
    of_variant: list[int] = []
    waiting: list[Tile] = []
    logits: list[NDArray[np.float32]] = []
    unreadable: list[Unreadable] = []

    def run(batch: int) -> None:
        logits.append(scorer.logits(waiting[:batch]))
        del waiting[:batch]

    with ThreadPoolExecutor(threads, "decode") as pool:
        for entry, future in _ahead(pool, lambda entry: _tiles(entry, treatment), entries, 2 * threads):
            try:
                variants = future.result()
            except SetupError as error:
                if not skip_unreadable:
                    raise
                unreadable.append(Unreadable(entry, error.message))
                variants = {}
            for number, (variant, tiles) in enumerate(variants.items()):
                tallies[variant].add(entry, len(tiles))
                of_variant.extend([number] * len(tiles))
                waiting.extend(tiles)
            while len(waiting) >= scorer.batch:
                run(scorer.batch)
            advance()
    if waiting:
        run(len(waiting))

    together = np.concatenate([*logits, np.empty((0, len(scorer.classes)), np.float32)])
    numbers = np.array(of_variant, np.int64)
    return Scored(
        {
            variant: Scores(
                tuple(tally.entries),
                together[numbers == number],
                np.array(tally.owners, np.int64),
                tuple(tally.too_small),
            )
            for number, (variant, tally) in enumerate(tallies.items())
        },
        tuple(unreadable),
    )


def _tiles(entry: Entry, treatment: Treatment) -> dict[Variant, list[Tile]]:
    image = entry.pixels(MAX_PIXELS)
    return {
        variant: _chosen(alter(image, variant, treatment.alterations), treatment.patches)
        for variant in treatment.variants
    }


def _chosen(image: NDArray[np.uint8], patches: int | None) -> list[Tile]:
    grid = coverage_grid(image.shape[1], image.shape[0])
    if patches is not None and len(grid):
        grid = grid[highest(tile_contrasts(luma(image), grid), patches)]
    return [tile.copy() for tile in cut(image, grid)]  # views would keep the whole image in memory


def _ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Entry], dict[Variant, list[Tile]]],
    entries: Sequence[Entry],
    window: int,
) -> Iterator[tuple[Entry, Future[dict[Variant, list[Tile]]]]]:
    """The futures of `function(entry)` in order, at most `window` of them begun and not yet taken."""
    begun: deque[tuple[Entry, Future[dict[Variant, list[Tile]]]]] = deque()
    for entry in entries:
        begun.append((entry, pool.submit(function, entry)))
        if len(begun) >= window:
            yield begun.popleft()
    yield from begun
