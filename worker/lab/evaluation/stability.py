"""How much a verdict depends on an image's way: the same image, altered, judged as a worker does."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schema.scan import ModelIdentity, Scan, Tiling
from schema.states import Decision, Reason
from schema.verdict import Verdict
from worker.detector.detector import Detector
from worker.detector.paths import weights_path
from worker.errors import ErrorCode, PermanentError, SetupError, SusyError
from worker.intake.decode import Image, decode
from worker.intake.sources import read
from worker.lab.evaluation.scorer import open_scorer
from worker.lab.evaluation.stability_alterations import ALTERATIONS, Alteration
from worker.localization import find_regions, heatmap
from worker.pipeline.measure import Scorer, complete, measure
from worker.policy.decide import decide, wants_map
from worker.policy.policy import Policy
from worker.settings import Settings

_UNTIL_THE_MAP = (Reason.BELOW_AUTHENTIC_BELOW, Reason.SYNTHETIC_REGION)
"""What a complete map may change: an authentic image that shows a region is none."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a worker would say of one form of an image."""

    score: float | None
    """1 − p(authentic), 0..1; None when no tile could be scored."""
    decision: Decision


@dataclass(frozen=True, slots=True)
class Trace:
    """One image, as it is and altered."""

    path: Path
    as_is: Look
    altered: tuple[Look | None, ...]
    """By index of the alterations; None where one does not apply. Empty when the image itself could not be scored."""


@dataclass(frozen=True)
class Unreadable:
    """An image that was skipped, and why."""

    path: Path
    error: SusyError


@dataclass(frozen=True)
class Judge:
    """What a worker judges by."""

    scorer: Scorer
    policy: Policy
    tiling: Tiling
    max_bytes: int
    max_pixels: int

    def look(self, image: Image) -> Look:
        """The verdict on `image`. Its map is completed only where that can change the decision."""
        scan = measure(image, "", self.tiling, self.scorer)
        verdict = self._decide(scan)
        if verdict.reasons[0] in _UNTIL_THE_MAP and wants_map(scan, self.policy):
            verdict = self._decide(complete(scan, image, self.scorer))
        return Look(verdict.score, verdict.decision)

    def _decide(self, scan: Scan) -> Verdict:
        return decide(scan, self.policy, find_regions(heatmap(scan), self.policy.region_at))

    def trace(self, path: Path, alterations: Sequence[Alteration] = ALTERATIONS) -> Trace:
        """The image at `path` through every alteration, one at a time.

        Raises `PermanentError` or `TransientError` as a worker would.
        """
        if not path.exists():
            raise PermanentError(ErrorCode.NOT_FOUND, f"{path} does not exist")
        real = path.resolve()  # whoever names a file here may read it: its own folder is the root
        image = decode(read(str(real), (real.parent,), self.max_bytes), self.max_pixels)
        as_is = self.look(image)
        if as_is.score is None:
            return Trace(path, as_is, ())
        altered = (alteration.apply(image, self.max_pixels) for alteration in alterations)
        return Trace(path, as_is, tuple(None if other is None else self.look(other) for other in altered))


def trace_all(files: Iterable[Path], judge: Judge, at_once: int) -> Iterator[Trace | Unreadable]:
    """One trace a file, in order; `at_once` images are in flight so that batches fill.

    Raises `SetupError`; what is wrong with one image is yielded.
    """

    def traced(path: Path) -> Trace | Unreadable:
        try:
            return judge.trace(path)
        except SetupError:
            raise
        except SusyError as error:
            return Unreadable(path, error)

    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(traced, files)


@contextmanager
def open_network(settings: Settings, classes: Sequence[str] | None = None) -> Iterator[Scorer]:
    """The worker's own detector for a weights file, or a TorchScript program in its place.

    `classes` are the names of the program's classes, see `open_scorer`.
    Raises `SetupError` when the weights or the device are not as asked for.
    """
    path = weights_path(settings)
    if path.suffix == ".safetensors":
        with Detector(settings) as detector:
            yield detector
    else:
        yield _Program(path, settings.device, classes)


class _Program:
    """A TorchScript program where the pipeline expects a detector; one thread scores at a time."""

    def __init__(self, path: Path, device: str, classes: Sequence[str] | None) -> None:
        self._network = open_scorer(path, device, classes)
        self._turn = threading.Lock()
        self.identity = ModelIdentity(self._network.name, self._network.sha256, self._network.classes)

    def score(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        with self._turn:
            return self._network.probabilities(tiles)
