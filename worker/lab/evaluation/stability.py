"""How far a score moves, and how often a decision changes, when an image is saved again, resized or cropped.

Each image is examined as it is and altered, by the pipeline of the workers; the results of many images are summarized
per alteration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.states import Decision
from worker.detector.detector import Detector
from worker.detector.paths import weights_path
from worker.errors import SetupError, SusyError
from worker.intake.decode import Image, with_decoded
from worker.lab.evaluation.alterations import ALTERATIONS, Alteration
from worker.lab.evaluation.scorer import open_scorer
from worker.lab.imaging import ALTERING_BYTES, Pixels
from worker.machine.threads import map_in_threads
from worker.pipeline.examine import Examiner
from worker.pipeline.measure import Scorer
from worker.policy.policy import Policy
from worker.settings import Settings

_OPPOSITES = {Decision.AUTHENTIC, Decision.SYNTHETIC}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The score and decision of a worker on one form of an image."""

    score: float | None
    """1 − p(authentic), 0..1; None when no tile could be scored."""
    decision: Decision


@dataclass(frozen=True, slots=True)
class ImageOutcomes:
    """One image, as it is and altered."""

    path: Path
    as_is: Outcome
    altered: tuple[Outcome | None, ...]
    """By index of the alterations; None where one does not apply. Empty when the image as it is has no score."""


@dataclass(frozen=True)
class Unreadable:
    """An image that was skipped, and why."""

    path: Path
    error: SusyError


def examine_altered(
    path: Path, content: bytes, examiner: Examiner, policy: Policy, alterations: Sequence[Alteration] = ALTERATIONS
) -> ImageOutcomes:
    """The outcomes of the image at `path`, whose bytes are `content`, with one alteration at a time.

    Raises `PermanentError` or `TransientError` as a worker would.
    """

    def outcomes(image: Image) -> ImageOutcomes:
        def outcome(pixels: Pixels) -> Outcome:
            height, width = pixels.shape[:2]
            verdict = examiner.decide_image(Image(pixels, width, height, image.format), policy)
            return Outcome(verdict.score, verdict.decision)

        as_is = outcome(image.pixels)
        if as_is.score is None:
            return ImageOutcomes(path, as_is, ())
        altered = (alteration.apply(image.pixels, examiner.max_pixels) for alteration in alterations)
        return ImageOutcomes(path, as_is, tuple(None if pixels is None else outcome(pixels) for pixels in altered))

    return with_decoded(content, examiner.max_pixels, outcomes, examiner.memory, using_bytes=ALTERING_BYTES)


def examine_all(
    files: Iterable[Path], read: Callable[[Path], bytes], examiner: Examiner, policy: Policy, *, threads: int
) -> Generator[ImageOutcomes | Unreadable, None, None]:
    """The outcomes of each file, in order; `threads` images are in flight so that batches fill.

    `read` returns the bytes of a file. Raises `SetupError`; the error of a single image is yielded.
    """

    def examine(path: Path) -> ImageOutcomes | Unreadable:
        try:
            return examine_altered(path, read(path), examiner, policy)
        except SetupError:
            raise
        except SusyError as error:
            return Unreadable(path, error)

    yield from map_in_threads(examine, files, threads)


@contextmanager
def open_network(settings: Settings, classes: Sequence[str] | None = None) -> Iterator[Scorer]:
    """The worker's own detector for a weights file, or a TorchScript program in its place.

    `classes` are the names of the program's classes, see `open_scorer`.
    Raises `SetupError` when the weights or the device are not as the settings say.
    """
    path = weights_path(settings)
    if path.suffix == ".safetensors":
        with Detector(settings) as detector:
            yield detector
    else:
        yield open_scorer(path, settings.device, classes, settings.batch_size, settings.precision)


@dataclass(frozen=True)
class Spread:
    """The median of some values and the range of nine in ten."""

    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""


@dataclass(frozen=True)
class Effect:
    """The effect of one alteration on the images it applies to."""

    alteration: Alteration
    applied: int
    """Images with a score to which the alteration applies."""
    not_scored: int
    """Of these, how many are too small afterwards (a side under 224 px). All other figures leave them out."""
    move: Spread | None
    """Score of the altered image minus that of the image as it is, −1..1; None when nothing was compared."""
    distance: float | None
    """Median of the absolute moves, 0..1."""
    flips: int
    """Decisions that turned from authentic to synthetic or back."""
    changes: int
    """Decisions that became another one, including flips."""

    @property
    def compared(self) -> int:
        return self.applied - self.not_scored


@dataclass(frozen=True)
class Summary:
    """All images together."""

    images: int
    """Images that could be read."""
    not_scored: int
    """Of these, how many are too small as they are; nothing else counts them."""
    unreadable: int
    decisions: dict[str, int]
    """Images as they are, by decision."""
    flipped: int
    """Images whose decision flips under at least one alteration."""
    changed: int
    """Images whose decision changes under at least one alteration."""
    farthest: Spread | None
    """Of each image, the largest distance of its scores from the score as it is."""
    effects: tuple[Effect, ...]

    @property
    def scored(self) -> int:
        return self.images - self.not_scored


def is_flip(before: Outcome, after: Outcome | None) -> bool:
    """Whether the decision turned from authentic to synthetic or back."""
    return after is not None and after.score is not None and {before.decision, after.decision} == _OPPOSITES


def is_change(before: Outcome, after: Outcome | None) -> bool:
    """Whether the decision became another one; an image that can no longer be scored has none."""
    return after is not None and after.score is not None and before.decision is not after.decision


def altered_scores(images: Sequence[ImageOutcomes]) -> NDArray[np.float64]:
    """Scores of altered images, float64 [images, alterations]; NaN where not applied or not scored."""
    if not images:
        return np.empty((0, len(ALTERATIONS)))
    rows = [[np.nan if of is None or of.score is None else of.score for of in image.altered] for image in images]
    return np.array(rows, np.float64)


def score_moves(images: Sequence[ImageOutcomes]) -> NDArray[np.float64]:
    """Altered minus unaltered scores, float64 [images, alterations]; NaN where there is nothing to compare."""
    return altered_scores(images) - np.array([[image.as_is.score] for image in images], np.float64)


def summarize(
    images: Sequence[ImageOutcomes], unreadable: int, alterations: Sequence[Alteration] = ALTERATIONS
) -> Summary:
    """The figures of `images`, whose altered outcomes are in the order of `alterations`."""
    scored = [image for image in images if image.as_is.score is not None]
    moves = score_moves(scored) if scored else np.empty((0, len(alterations)))
    farthest = [float(np.nanmax(row)) for row in np.abs(moves) if np.isfinite(row).any()]
    return Summary(
        images=len(images),
        not_scored=len(images) - len(scored),
        unreadable=unreadable,
        decisions=dict.fromkeys(map(str, Decision), 0) | Counter(str(image.as_is.decision) for image in scored),
        flipped=sum(any(is_flip(image.as_is, of) for of in image.altered) for image in scored),
        changed=sum(any(is_change(image.as_is, of) for of in image.altered) for image in scored),
        farthest=_spread(np.array(farthest)),
        effects=tuple(
            _effect(alteration, moves[:, index], [(image.as_is, image.altered[index]) for image in scored])
            for index, alteration in enumerate(alterations)
        ),
    )


def summary_document(summary: Summary) -> dict[str, Any]:
    """The summary as JSON."""
    return {
        "images": summary.images,
        "scored": summary.scored,
        "not_scored": summary.not_scored,
        "unreadable": summary.unreadable,
        "decisions": summary.decisions,
        "flipped_by_any": summary.flipped,
        "changed_by_any": summary.changed,
        "farthest": _spread_document(summary.farthest),
        "alterations": [
            {
                "family": effect.alteration.family.name,
                "setting": effect.alteration.setting,
                "applied": effect.applied,
                "not_scored": effect.not_scored,
                "move": _spread_document(effect.move),
                "distance": _rounded(effect.distance),
                "flips": effect.flips,
                "changes": effect.changes,
            }
            for effect in summary.effects
        ],
    }


def _effect(
    alteration: Alteration, moves: NDArray[np.float64], outcomes: list[tuple[Outcome, Outcome | None]]
) -> Effect:
    applied = sum(after is not None for _, after in outcomes)
    moves = moves[np.isfinite(moves)]
    return Effect(
        alteration=alteration,
        applied=applied,
        not_scored=applied - len(moves),
        move=_spread(moves),
        distance=float(np.median(np.abs(moves))) if len(moves) else None,
        flips=sum(is_flip(before, after) for before, after in outcomes),
        changes=sum(is_change(before, after) for before, after in outcomes),
    )


def _spread(values: NDArray[np.float64]) -> Spread | None:
    return Spread(*map(float, np.percentile(values, [5, 50, 95]))) if len(values) else None


def _spread_document(spread: Spread | None) -> dict[str, float | None] | None:
    if spread is None:
        return None
    return {"p5": _rounded(spread.low), "median": _rounded(spread.median), "p95": _rounded(spread.high)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
