"""`susy calibrate`: a temperature for a weights file, and the thresholds that follow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.evaluate import (
    AggregateOption,
    Alias,
    Authentic,
    Data,
    RuleOption,
    SkipUnreadable,
    Synthetic,
    decision_of,
    declarations_of,
    limit_threads,
    print_table,
)
from worker.cli.output import notes, out, print_json, progress_bar
from worker.extras import needs
from worker.files import require_replaceable
from worker.memory import MemoryBudget
from worker.settings import load_settings

if TYPE_CHECKING:
    from worker.detector.weights import WeightsInfo
    from worker.lab.evaluation.calibration import Fitted


@needs("worker", "evaluate")
def calibrate(
    data: Data,
    weights: Annotated[Path, typer.Option(help="The weights file to calibrate (.safetensors).")],
    to: Annotated[Path, typer.Option(help="The calibrated weights file to write.")],
    split: Annotated[str, typer.Option(help="The split to fit on: images that were not trained on.")] = "val",
    rule: RuleOption = None,
    aggregate: AggregateOption = None,
    authentic: Authentic = None,
    synthetic: Synthetic = None,
    alias: Alias = None,
    skip_unreadable: SkipUnreadable = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Fit a temperature on validation images, write it into a weights file, and suggest score thresholds."""
    from worker.lab.dataset.layouts import open_dataset
    from worker.lab.evaluation.calibration import calibrate as run
    from worker.lab.evaluation.calibration import require_weights_file, write_calibrated
    from worker.lab.evaluation.items import Options
    from worker.lab.evaluation.scorer import open_scorer
    from worker.lab.evaluation.scoring import Treatment, tasks_of

    require_weights_file(weights)
    require_replaceable(to)
    settings = load_settings()
    chosen_rule, chosen_aggregate = decision_of(settings, rule, aggregate)
    options = Options(
        Treatment(settings.grid, settings.max_pixels, memory=MemoryBudget(settings.memory_budget)),
        split,
        chosen_rule,
        chosen_aggregate,
        declarations_of(authentic, synthetic, alias),
        skip_unreadable=skip_unreadable,
    )
    limit_threads(settings)
    scorer = open_scorer(weights, settings.device, batch=settings.batch_size, precision=settings.precision)
    with progress_bar() as bar:
        fitted = run(open_dataset(data), scorer, options, tasks_of(bar))
    info = write_calibrated(weights, to, fitted, data=data.name)
    if json:
        print_json(_document(fitted, info, to))
    else:
        _print(fitted)
    notes.print(f"calibrated weights: {to} (digest {info.sha256[:12]})")


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
