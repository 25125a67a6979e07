"""The example of `docs/calibration.md`: thresholds of the demonstration weights from photographs and rebuilt ones.

The thresholds are chosen on the validation photographs and measured on the test photographs; neither was trained on.
"""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from schema.scan import Tiling
from tools.demo_weights.build import HELD_OUT_PREFIX
from tools.demo_weights.networks import HELD_OUT
from worker.demo import DEMO_WEIGHTS
from worker.files import write_atomically
from worker.lab.dataset.layouts import open_dataset
from worker.lab.evaluation.calibration import score_splits
from worker.lab.evaluation.items import Declarations, Options
from worker.lab.evaluation.scorer import open_scorer
from worker.lab.evaluation.scoring import Treatment, tasks_of
from worker.lab.thresholds.calibrate import calibrate
from worker.lab.thresholds.from_images import labels_of_images
from worker.lab.thresholds.goals import Goals
from worker.lab.thresholds.report import report
from worker.policy.policy import default_policy

GOALS = Goals(max_fpr=0.2, min_recall=0.8, precision=0.5, prevalence=0.2)
"""What 21 validation photographs can show; a platform asks for more and labels more."""


def write_example(data: Path, out: Path) -> None:
    """Calibrate the built-in policy on a data set of the command `data`, and write the report as `out`."""
    held_out = tuple(f"{HELD_OUT_PREFIX}{network.name}" for network in HELD_OUT)
    options = Options(Treatment(Tiling(), max_pixels=10**8), "val", declared=Declarations(synthetic=held_out))
    scorer, dataset = open_scorer(DEMO_WEIGHTS, "auto"), open_dataset(data)
    with Progress() as bar:
        scored = score_splits(dataset, scorer, options, tasks_of(bar))
    labels = labels_of_images(dataset, scored, scorer, options, scorer.temperature, default_policy())
    write_atomically(out, report(calibrate(labels, GOALS, default_policy(), "demo-example")).encode())
