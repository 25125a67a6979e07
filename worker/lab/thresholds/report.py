"""The files of a calibration: the policy, one page with tables and plots, and the figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from worker.files import write_atomically
from worker.lab.evaluation.html import image_tag, render
from worker.lab.thresholds import charts, tables
from worker.lab.thresholds.calibrate import Calibrated
from worker.lab.thresholds.policy_file import policy_file


def report(calibrated: Calibrated) -> str:
    """The page."""
    drawn = {
        "ROC": charts.roc,
        "precision and recall": charts.precision_recall,
        "scores": charts.histogram,
        "reliability": charts.reliability,
        "costs": charts.costs,
    }
    return render(
        "thresholds.html",
        calibrated=calibrated,
        tables=[table for table in tables.tables(calibrated) if table.rows],
        plots={name: image_tag(draw(calibrated), name) for name, draw in drawn.items()},
        policy_file=policy_file(calibrated),
        prevalence=tables.shown_rate(calibrated.prevalence) if calibrated.prevalence else None,
    )


def write_report(folder: Path, calibrated: Calibrated) -> tuple[Path, Path]:
    """Write the policy as `NAME.toml`, `report.html` and `calibration.json`; the paths of the first two."""
    policy, page = folder / f"{calibrated.policy.name}.toml", folder / "report.html"
    text = json.dumps(tables.document(calibrated), ensure_ascii=False, indent=1) + "\n"
    write_atomically(folder / "calibration.json", text.encode(errors="replace"))
    write_atomically(policy, policy_file(calibrated).encode(errors="replace"))
    write_atomically(page, report(calibrated).encode(errors="replace"))
    return policy, page
