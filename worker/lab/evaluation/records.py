"""An evaluation as files for programs: one JSON document, and a CSV with every image's scores."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict
from io import StringIO
from typing import Any

from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.items import Level
from worker.lab.evaluation.results import Evaluation, VariantResult


def document(evaluation: Evaluation) -> dict[str, Any]:
    """All figures, ready for JSON."""
    options, scorer = evaluation.options, evaluation.scorer
    return {
        "weights": {
            "name": scorer.name,
            "sha256": scorer.sha256,
            "classes": list(scorer.classes),
            "temperature": scorer.temperature,
        },
        "data": {
            "name": evaluation.name,
            "split": options.split,
            "images": len(evaluation.dataset.of(options.split)),
            "labels": {label: asdict(labels) for label, labels in evaluation.labels.items()},
        },
        "options": {
            "rule": str(options.rule),
            "aggregate": str(options.aggregate),
            "patches": options.treatment.patches or "all",
            "bootstrap": asdict(options.bootstrap),
        },
        "variants": {str(result.variant): _variant(evaluation, result) for result in evaluation.variants},
        "unreadable": [{"name": item.entry.name, "why": item.why} for item in evaluation.unreadable],
        "validation": evaluation.validation_note,
        "calibration": [{"what": row.what, **asdict(row.result)} for row in evaluation.calibration],
        "calibration_note": evaluation.calibration_note,
    }


def images_csv(evaluation: Evaluation) -> str:
    """A line an image and variant: what it is, whether it was scored, and its aggregated probabilities."""
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    classes = evaluation.scorer.classes
    lines.writerow(
        ["variant", "name", "label", "dataset", "picture", "outcome", "score", "answer", *(f"p({c})" for c in classes)]
    )
    for result in evaluation.variants:
        lines.writerows(_scored(result, classes))
        lines.writerows(_without(result, entry, "too_small") for entry in result.too_small)
        lines.writerows(_without(result, item.entry, "unreadable") for item in evaluation.unreadable)
    return text.getvalue()


def _variant(evaluation: Evaluation, result: VariantResult) -> dict[str, Any]:
    return {
        "parameters": evaluation.options.treatment.alterations.describe(result.variant),
        "scored": result.scored,
        "too_small": [entry.name for entry in result.too_small],
        **{str(level): asdict(figures) for level, figures in result.levels.items()},
    }


def _scored(result: VariantResult, classes: tuple[str, ...]) -> Iterator[list[Any]]:
    rows = result.items[Level.IMAGE]
    for entry, score, answer, probabilities in zip(
        rows.entries, rows.scores.tolist(), rows.answers.tolist(), rows.probabilities.tolist(), strict=True
    ):
        yield [
            *_identity(result, entry),
            "scored",
            f"{score:.6f}",
            classes[answer],
            *(f"{probability:.6f}" for probability in probabilities),
        ]


def _without(result: VariantResult, entry: Entry, outcome: str) -> list[Any]:
    return [*_identity(result, entry), outcome]


def _identity(result: VariantResult, entry: Entry) -> list[str]:
    return [str(result.variant), entry.name, entry.label, entry.dataset, entry.picture]
