"""What `susy calibrate` does with labelled images: scores them, fits a temperature, and makes labels of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.cli.lab.evaluate import limit_threads, print_table
from worker.cli.local_images import with_weights_or_demo
from worker.cli.output import notes, out, progress_bar
from worker.machine.memory import MemoryBudget

if TYPE_CHECKING:
    from worker.detector.weights import WeightsInfo
    from worker.lab.evaluation.calibration import Fitted
    from worker.lab.evaluation.items import Declarations
    from worker.lab.thresholds.calibrate import Labels
    from worker.policy.policy import Policy
    from worker.settings import Settings


@dataclass(frozen=True)
class Images:
    """Which images, by which weights."""

    data: Path
    weights: Path | None
    to: Path | None
    """Where the weights with a fitted temperature are written; None to fit none."""
    split: str
    declared: Declarations
    skip_unreadable: bool


def calibrate_images(
    images: Images, base: Policy, settings: Settings, *, with_labels: bool, quiet: bool
) -> tuple[dict[str, Any], Labels | None]:
    """Score the images by the rule and the aggregation of `base`.

    The document of the temperature, empty without one, and the labelled scores if they are wanted.
    """
    from worker.detector.paths import weights_path
    from worker.lab.dataset.layouts import open_dataset
    from worker.lab.evaluation.calibration import fit, require_weights_file, score_splits, write_calibrated
    from worker.lab.evaluation.items import Options
    from worker.lab.evaluation.scorer import open_scorer
    from worker.lab.evaluation.scoring import Treatment, tasks_of
    from worker.lab.thresholds.from_images import labels_of_images

    path = images.weights or weights_path(with_weights_or_demo(settings))
    if images.to is not None:
        require_weights_file(path)
    options = Options(
        Treatment(settings.grid, settings.max_pixels, memory=MemoryBudget(settings.memory_budget)),
        images.split,
        base.rule,
        base.aggregate,
        images.declared,
        skip_unreadable=images.skip_unreadable,
    )
    limit_threads(settings)
    scorer = open_scorer(path, settings.device, batch=settings.batch_size, precision=settings.precision)
    dataset = open_dataset(images.data)
    with progress_bar() as bar:
        scored = score_splits(dataset, scorer, options, tasks_of(bar))
    document: dict[str, Any] = {}
    temperature = scorer.temperature
    if images.to is not None:
        fitted = fit(scored, scorer, options)
        temperature = fitted.temperature
        info = write_calibrated(path, images.to, fitted, data=images.data.name)
        document = _document(fitted, info, images.to)
        if not quiet:
            _print(fitted)
        notes.print(f"calibrated weights: {images.to} (digest {info.sha256[:12]})")
    return document, labels_of_images(dataset, scored, scorer, options, temperature, base) if with_labels else None


def _print(fitted: Fitted) -> None:
    from worker.lab.evaluation.tables import Table

    out.print(f"temperature {fitted.temperature:.4f}")
    calibration = tuple(
        (
            of.split,
            f"{of.after.count:,}",
            f"{of.before.expected_error:.4f} → {of.after.expected_error:.4f}",
            f"{of.before.negative_log_likelihood:.4f} → {of.after.negative_log_likelihood:.4f}",
            f"{of.too_small:,}",
            f"{of.unreadable:,}",
        )
        for of in fitted.splits
    )
    print_table(
        Table(
            "Calibration, before → after",
            (
                "split",
                "patches",
                "expected calibration error",
                "negative log-likelihood",
                "images under 224 px",
                "unreadable",
            ),
            calibration,
            f"Fitted on {fitted.splits[0].split}; only images it was not fitted on show its effect.",
        )
    )

    suggestions = tuple(
        (
            f"{of.rate:.1%}",
            of.why if of.threshold is None else f"{of.threshold:.4f}",
            "" if of.threshold is None else f"{of.false_positives:,} of {of.images:,}",
            f"{of.images:,}",
            f"{of.pictures:,}",
        )
        for of in fitted.suggestions
    )
    print_table(
        Table(
            f"Thresholds suggested by {fitted.splits[0].split}",
            ("false positives at most", "synthetic from", "here", "authentic images", "pictures"),
            suggestions,
            "Scores of images at the new temperature. A suggestion, not a decision: thresholds are set in policy files "
            "(synthetic_at), and are valid only for images like these.",
        )
    )


def _document(fitted: Fitted, info: WeightsInfo, to: Path) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(fitted), "weights": {"path": str(to), "name": info.name, "sha256": info.sha256}}
