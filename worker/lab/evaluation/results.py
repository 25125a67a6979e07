"""What an evaluation is asked, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.lab.dataset.entries import Dataset, Entry
from worker.lab.evaluation.bootstrap import Bootstrap, Estimate
from worker.lab.evaluation.calibration import Calibration
from worker.lab.evaluation.items import Items, Level
from worker.lab.evaluation.labels import Label
from worker.lab.evaluation.recalls import Recall
from worker.lab.evaluation.recognition import AnswerTable, Recognition
from worker.lab.evaluation.scorer import Scorer
from worker.lab.evaluation.scoring import Treatment, Unreadable
from worker.lab.evaluation.variants import Variant
from worker.policy.policy import Aggregation, Rule


@dataclass(frozen=True)
class Options:
    """What is evaluated, and how."""

    split: str = "test"
    treatment: Treatment = field(default_factory=Treatment)
    rule: Rule = Rule.SUM
    aggregate: Aggregation = Aggregation.MEAN
    authentic: tuple[str, ...] = ()
    """Labels that count in detection alone, as authentic."""
    synthetic: tuple[str, ...] = ()
    alias: Mapping[str, str] = field(default_factory=dict)
    """Labels that are classes of the weights under another name, label → class."""
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    skip_unreadable: bool = False


@dataclass(frozen=True)
class AtThreshold:
    """Detection at one threshold."""

    threshold: float
    chosen_on: str | None
    """The split on which it gave the highest accuracy; None for the fixed one."""
    figures: dict[str, Estimate]


@dataclass(frozen=True)
class LevelFigures:
    """All figures of one variant, a row being a patch or an image."""

    count: int
    authentic: int
    synthetic: int
    pictures: int
    at_half: AtThreshold
    at_best: AtThreshold | None
    """None where no threshold could be chosen: only one kind is there."""
    areas: dict[str, Estimate]
    recognition: Recognition | None
    answers: AnswerTable
    recalls: tuple[Recall, ...]


@dataclass(frozen=True, eq=False)
class VariantResult:
    """One variant: its figures and the rows they come from."""

    variant: Variant
    scored: int
    too_small: tuple[Entry, ...]
    levels: dict[Level, LevelFigures]
    items: dict[Level, Items]


@dataclass(frozen=True)
class CalibrationRow:
    """Calibration on the evaluated split at one temperature."""

    what: str
    result: Calibration


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything the tables and the report are made of."""

    dataset: Dataset
    scorer: Scorer
    options: Options
    labels: dict[str, Label]
    validated: bool
    """Whether best thresholds were chosen on the validation split."""
    validation_note: str
    """How many validation images were scored and not scored; empty without any."""
    variants: tuple[VariantResult, ...]
    unreadable: tuple[Unreadable, ...]
    calibration: tuple[CalibrationRow, ...]
    calibration_note: str
    """Why no temperature was fitted; empty when one was."""

    @property
    def name(self) -> str:
        """Of the data set: its folder's, or the manifest's own when that has a name."""
        path = self.dataset.path.resolve()
        return path.parent.name if path.stem == "manifest" else path.name

    @property
    def plain(self) -> VariantResult:
        """The originals, or the first variant when those were left out."""
        return next((result for result in self.variants if result.variant is Variant.ORIGINAL), self.variants[0])
