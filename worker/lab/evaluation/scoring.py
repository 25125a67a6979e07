"""Scoring many images while few are in memory: threads decode and cut tiles, the caller's thread runs the network."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from schema.scan import Tiling
from worker.detector.contrast import SELECTED_TILES
from worker.detector.engine import Tile
from worker.detector.tiles import cut
from worker.errors import ErrorCode, InputDataError, SetupError
from worker.intake.decode import COPYING_BYTES
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.alterations import Variant, VariantParameters, make_variant
from worker.lab.evaluation.scorer import Scorer
from worker.lab.imaging import ALTERING_BYTES, Pixels
from worker.machine.memory import MemoryBudget
from worker.pipeline.measure import lay_out

StartTask = Callable[[str, int], Callable[[], object]]
"""Called with a description and a number of images; returns what is called after each image."""


def no_progress(_description: str, _count: int) -> Callable[[], object]:
    """Reports nothing."""
    return lambda: None


def tasks_of(bar: Progress) -> StartTask:
    """Reports on a progress bar."""

    def start(description: str, count: int) -> Callable[[], object]:
        task = bar.add_task(description, total=count)
        return lambda: bar.advance(task)

    return start


@dataclass(frozen=True)
class Treatment:
    """What is done to each image before the network is run. Tiling and pixel limit are those of the settings."""

    tiling: Tiling
    max_pixels: int
    variants: tuple[Variant, ...] = (Variant.ORIGINAL,)
    parameters: VariantParameters = field(default_factory=VariantParameters)
    patches: int | None = SELECTED_TILES
    """How many tiles of highest contrast are scored; None for all."""
    memory: MemoryBudget = field(default_factory=MemoryBudget.of_machine, compare=False, repr=False)
    """What the images that are decoded at once share."""


@dataclass(frozen=True, eq=False)
class Scores:
    """One variant of the images: N scored images, with P tiles in total."""

    entries: tuple[Entry, ...]
    logits: NDArray[np.float32]
    """[P, C], before the temperature; the tiles of an image are consecutive."""
    image: NDArray[np.int64]
    """[P] index among `entries` of the image that each tile is part of."""
    too_small: tuple[Entry, ...]
    """Images with a side under 224 px: they have no tile and no score."""


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


def score(
    entries: Sequence[Entry],
    scorer: Scorer,
    treatment: Treatment,
    *,
    skip_unreadable: bool = False,
    threads: int | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Scored:
    """The logits of each image's selected tiles; tiles are laid and selected by the worker's own `lay_out`.

    Each of `threads` threads (by default one per core) holds one decoded image at a time; batches are filled across
    images and variants. `advance` is called once per image. Memory grows only by the logits, about 40 bytes per tile.
    Raises `InputDataError` (`data_invalid`) for the first unreadable image, unless `skip_unreadable`.
    """
    threads = threads or len(os.sched_getaffinity(0))
    counts = {variant: _Counts() for variant in treatment.variants}
    variant_of_tile: list[int] = []
    waiting: list[Tile] = []
    logits: list[NDArray[np.float32]] = []
    unreadable: list[Unreadable] = []

    def run(batch: int) -> None:
        logits.append(scorer.logits(waiting[:batch]))
        del waiting[:batch]

    with ThreadPoolExecutor(threads, "decode") as pool:
        for entry, future in _submit_ahead(pool, lambda entry: _tiles(entry, treatment), entries, 2 * threads):
            try:
                tiles_of = future.result()
            except SetupError as error:
                if not skip_unreadable:
                    raise
                unreadable.append(Unreadable(entry, error.message))
                tiles_of = {}
            for number, (variant, tiles) in enumerate(tiles_of.items()):
                counts[variant].add(entry, len(tiles))
                variant_of_tile.extend([number] * len(tiles))
                waiting.extend(tiles)
            while len(waiting) >= scorer.batch:
                run(scorer.batch)
            advance()
    if waiting:
        run(len(waiting))

    all_logits = np.concatenate([*logits, np.empty((0, len(scorer.classes)), np.float32)])
    numbers = np.array(variant_of_tile, np.int64)
    return Scored(
        {
            variant: Scores(
                tuple(count.entries),
                all_logits[numbers == number],
                np.array(count.image_of_tile, np.int64),
                tuple(count.too_small),
            )
            for number, (variant, count) in enumerate(counts.items())
        },
        tuple(unreadable),
    )


@dataclass(eq=False)
class _Counts:
    """The images and tiles of one variant so far."""

    entries: list[Entry] = field(default_factory=list)
    too_small: list[Entry] = field(default_factory=list)
    image_of_tile: list[int] = field(default_factory=list)

    def add(self, entry: Entry, tiles: int) -> None:
        if not tiles:
            self.too_small.append(entry)
            return
        self.image_of_tile.extend([len(self.entries)] * tiles)
        self.entries.append(entry)


def _tiles(entry: Entry, treatment: Treatment) -> dict[Variant, list[Tile]]:
    def tiles_of(image: Pixels) -> dict[Variant, list[Tile]]:
        tiles = {}
        for variant in treatment.variants:
            altered = make_variant(image, variant, treatment.parameters)
            if altered is None:
                height, width = image.shape[:2]
                raise InputDataError(
                    ErrorCode.DATA_INVALID,
                    f"{entry.name} is {width}×{height} pixels, too large for JPEG; leave out the image or the variant",
                )
            layout = lay_out(altered, treatment.tiling, treatment.patches)
            # Copies: views would keep the whole image in memory.
            tiles[variant] = [tile.copy() for tile in cut(altered, layout.corners[layout.selected])]
        return tiles

    is_altered = treatment.variants != (Variant.ORIGINAL,)
    using_bytes = ALTERING_BYTES if is_altered else COPYING_BYTES
    return entry.with_pixels(treatment.max_pixels, tiles_of, treatment.memory, using_bytes=using_bytes)


def _submit_ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Entry], dict[Variant, list[Tile]]],
    entries: Sequence[Entry],
    limit: int,
) -> Iterator[tuple[Entry, Future[dict[Variant, list[Tile]]]]]:
    """The futures of `function(entry)` in order; at most `limit` are submitted and not yet yielded."""
    submitted: deque[tuple[Entry, Future[dict[Variant, list[Tile]]]]] = deque()
    for entry in entries:
        submitted.append((entry, pool.submit(function, entry)))
        if len(submitted) >= limit:
            yield submitted.popleft()
    yield from submitted
