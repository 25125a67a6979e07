"""A calibration as tables for the terminal and the report, and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from worker.lab.evaluation.bootstrap import Estimate
from worker.lab.evaluation.tables import Table, shown
from worker.lab.thresholds.calibrate import Calibrated
from worker.lab.thresholds.choose import Chosen
from worker.lab.thresholds.labelled import Labelled
from worker.lab.thresholds.measure import Measured, Rate

INTERVALS = "In brackets, 95 % intervals by content: Clopper and Pearson's, widened for weights and groups."


def shown_rate(rate: Rate) -> str:
    """A rate with its interval and the contents it was counted from; a dash when there is none."""
    if rate.value is None:
        return "–"
    return f"{_fine(rate)}, {rate.count:,} of {rate.of:,}"


def chosen(calibrated: Calibrated) -> Table:
    """The thresholds, and the goals that they reach."""
    rows = tuple((each.key, f"{each.threshold:.4f}", each.goal, f"{each.labels:,}") for each in calibrated.chosen)
    return Table("Thresholds", ("key", "threshold", "goal", "chosen on"), rows, _note(calibrated))


def measured(calibrated: Calibrated) -> Table:
    """The rates of the thresholds before and after, on contents that had no part in the choice."""
    of = (calibrated.before, calibrated.measured)
    rows = [
        ("synthetic at", *(f"{policy.synthetic_at:.4f}" for policy in (calibrated.base, calibrated.policy))),
        ("authentic below", *(f"{policy.authentic_below:.4f}" for policy in (calibrated.base, calibrated.policy))),
        ("authentic, called synthetic", *(shown_rate(each.false_positive_rate) for each in of)),
        ("synthetic, called synthetic", *(shown_rate(each.recall) for each in of)),
        ("synthetic, not called authentic", *(shown_rate(each.not_missed) for each in of)),
        ("authentic, called authentic", *(shown_rate(each.cleared) for each in of)),
    ]
    if calibrated.goals.prevalence is not None:
        name = f"precision where {calibrated.goals.prevalence:.3g} of all are synthetic"
        rows.append((name, *(_fine(each.precision) for each in of)))
    return Table(
        "Rates, on contents that had no part in the choice", ("rate", "before", "after"), tuple(rows), INTERVALS
    )


def by_source(calibrated: Calibrated) -> Table:
    """The rates in each source, and the thresholds of its own labels."""
    rows = tuple(
        (
            each.source,
            shown_rate(each.measured.false_positive_rate),
            shown_rate(each.measured.recall),
            ", ".join(f"{own.key} {own.threshold:.4f}" for own in each.own) or each.why,
        )
        for each in calibrated.by_source
    )
    columns = ("source", "authentic, called synthetic", "synthetic, called synthetic", "its own thresholds")
    return Table("By source", columns, rows if len(rows) > 1 else (), "At the thresholds of all sources together.")


def tables(calibrated: Calibrated) -> tuple[Table, ...]:
    """All tables."""
    return chosen(calibrated), measured(calibrated), by_source(calibrated)


def document(calibrated: Calibrated) -> dict[str, Any]:
    """All figures, ready for JSON."""
    labels = calibrated.labels
    return {
        "policy": {"name": calibrated.policy.name, "version": calibrated.policy.version.version},
        "base": {"name": calibrated.base.name, "version": calibrated.base.version.version},
        "thresholds": {
            "synthetic_at": [calibrated.base.synthetic_at, calibrated.policy.synthetic_at],
            "authentic_below": [calibrated.base.authentic_below, calibrated.policy.authentic_below],
        },
        "goals": asdict(calibrated.goals),
        "chosen": _chosen(calibrated.chosen),
        "labels": {
            "choice": _counts(labels.choice),
            "report": _counts(labels.report),
            "facts": dict(labels.facts),
            "warnings": list(labels.warnings),
        },
        "prevalence": None if calibrated.prevalence is None else asdict(calibrated.prevalence),
        "before": _rates(calibrated.before),
        "after": _rates(calibrated.measured),
        "sources": [
            {"source": of.source, **_rates(of.measured), "own": _chosen(of.own), "why": of.why}
            for of in calibrated.by_source
        ],
    }


def _note(calibrated: Calibrated) -> str:
    choice, report = calibrated.labels.choice, calibrated.labels.report
    counted = " and ".join(
        f"{len(half.authentic):,} authentic and {len(half.generated):,} synthetic contents {use}"
        for half, use in ((choice, "to choose on"), (report, "to measure on"))
    )
    return f"{counted}. Each goal is reached with 95 % confidence."


def _fine(estimate: Estimate) -> str:
    """As `shown`, with more digits for rates near 0 and 1, where goals are."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return shown(estimate)
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _counts(items: Labelled) -> dict[str, Any]:
    return {
        "authentic": len(items.authentic),
        "synthetic": len(items.generated),
        "stand_for": float(items.weights.sum()),
    }


def _chosen(every: Iterable[Chosen]) -> list[dict[str, Any]]:
    return [asdict(each) for each in every]


def _rates(of: Measured) -> dict[str, Any]:
    return asdict(of)
