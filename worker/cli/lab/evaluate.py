"""`susy evaluate`: figures of weights on labelled images."""

from __future__ import annotations

import json as text_of
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from schema.scan import Precision
from worker.cli.local_images import with_weights_or_demo
from worker.cli.options import one_of, split_names
from worker.cli.output import notes, out, print_json, progress_bar, table
from worker.errors import ConfigurationError, ErrorCode
from worker.extras import needs
from worker.files import write_atomically
from worker.machine.memory import MemoryBudget
from worker.policy.policy import Aggregation, Rule
from worker.policy.selection import PolicySet, load_pinned
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from worker.lab.evaluation.evaluate import Evaluation
    from worker.lab.evaluation.items import Declarations
    from worker.lab.evaluation.precisions import Comparison
    from worker.lab.evaluation.tables import Table

Choice = TypeVar("Choice", bound=StrEnum)

_NARROW = 150  # columns; below this width, an interval is printed under its figure


Data = Annotated[
    Path, typer.Argument(help="A folder per class with train, val and test; a manifest; or a Parquet data set.")
]
Weights = Annotated[
    Path | None, typer.Option(help="A .safetensors file, or a TorchScript program; default: as SUSY_WEIGHTS says.")
]
Classes = Annotated[
    str | None,
    typer.Option(help="Class names of a TorchScript program, in order, the authentic one first: authentic,a,b."),
]
RuleOption = Annotated[Rule | None, typer.Option(help="The detector's rule; default: the configured policy's.")]
AggregateOption = Annotated[
    Aggregation | None, typer.Option(help="How an image's tiles are aggregated; default: the configured policy's.")
]
Authentic = Annotated[list[str] | None, typer.Option(help="A label counted as authentic, in detection only.")]
Synthetic = Annotated[list[str] | None, typer.Option(help="A label counted as synthetic, in detection only.")]
Alias = Annotated[list[str] | None, typer.Option(help="LABEL=CLASS: a label that is a class under another name.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="Count unreadable images instead of failing.")]


@needs("worker", "evaluate")
def evaluate(
    data: Data,
    weights: Weights = None,
    classes: Classes = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    variants: Annotated[
        str, typer.Option(help="Any of original, jpeg, downscaled and down_up, separated by commas.")
    ] = "original",
    quality: Annotated[int, typer.Option(min=1, max=95, help="JPEG quality of the variant jpeg.")] = 75,
    scale: Annotated[float, typer.Option(min=0.01, max=0.99, help="Of both sides, in downscaled and down_up.")] = 0.5,
    resample: Annotated[str, typer.Option(help="box, bilinear, bicubic or lanczos, when scaling.")] = "bicubic",
    patches: Annotated[str, typer.Option(help="How many tiles of highest contrast are scored, or all.")] = "5",
    rule: RuleOption = None,
    aggregate: AggregateOption = None,
    authentic: Authentic = None,
    synthetic: Synthetic = None,
    alias: Alias = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples for the intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
    skip_unreadable: SkipUnreadable = False,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16 or float16; of several, such as float32,bfloat16, the first is evaluated, and the "
            "decisions are counted that flip with each other one. Default: SUSY_PRECISION."
        ),
    ] = None,
    to: Annotated[Path, typer.Option("--out", help="Folder for the report and the files of figures.")] = Path(
        "evaluation"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Print and save the model card's tables for weights on labelled images: detection, recognition, calibration."""
    from worker.detector.paths import weights_path
    from worker.lab.dataset.layouts import open_dataset
    from worker.lab.evaluation.alterations import Filter, Variant, VariantParameters
    from worker.lab.evaluation.bootstrap import Bootstrap
    from worker.lab.evaluation.evaluate import evaluate as run
    from worker.lab.evaluation.html import require_folder
    from worker.lab.evaluation.items import Options
    from worker.lab.evaluation.precisions import Comparison
    from worker.lab.evaluation.scorer import open_scorer
    from worker.lab.evaluation.scoring import Treatment, tasks_of

    settings = load_settings()
    chosen_rule, chosen_aggregate = decision_of(settings, rule, aggregate)
    options = Options(
        Treatment(
            settings.grid,
            settings.max_pixels,
            tuple(one_of(Variant, name, "--variants") for name in dict.fromkeys(split_names(variants))),
            VariantParameters(quality, scale, one_of(Filter, resample, "--resample")),
            _patches(patches),
            MemoryBudget(settings.memory_budget),
        ),
        split,
        chosen_rule,
        chosen_aggregate,
        declarations_of(authentic, synthetic, alias),
        Bootstrap(bootstrap, seed),
        skip_unreadable,
    )
    folder = require_folder(to)
    limit_threads(settings)
    path = weights or weights_path(with_weights_or_demo(settings))
    names = None if classes is None else split_names(classes)
    precisions = _precisions(precision, path) or [settings.precision]
    scorers = [open_scorer(path, settings.device, names, settings.batch_size, name) for name in precisions]
    with progress_bar() as bar:
        dataset = open_dataset(data)
        found = run(dataset, scorers[0], options, tasks_of(bar))
        without_intervals = replace(options, bootstrap=Bootstrap(0, seed))
        others = [run(dataset, scorer, without_intervals, tasks_of(bar)) for scorer in scorers[1:]]
    comparisons = [Comparison.of(found, other) for other in others]
    _save(found, comparisons, folder)
    _print(found, comparisons, json=json)
    notes.print(f"report: {folder / 'report.html'}")


def decision_of(settings: Settings, rule: Rule | None, aggregate: Aggregation | None) -> tuple[Rule, Aggregation]:
    """The rule and the aggregation of the command line, or else of the configured policy."""
    policy = PolicySet(load_pinned(settings.policy_file, settings.policy_dir)).default
    return rule or policy.rule, aggregate or policy.aggregate


def declarations_of(authentic: list[str] | None, synthetic: list[str] | None, alias: list[str] | None) -> Declarations:
    """What the options declare about labels; raises `ConfigurationError` for an alias that is not `LABEL=CLASS`."""
    from worker.lab.evaluation.items import Declarations

    if wrong := [pair for pair in alias or () if pair.count("=") != 1]:
        raise ConfigurationError(ErrorCode.SETTINGS, f"--alias {wrong[0]}: write LABEL=CLASS")
    aliases = {label: name for label, _, name in (pair.partition("=") for pair in alias or ())}
    return Declarations(tuple(authentic or ()), tuple(synthetic or ()), aliases)


def limit_threads(settings: Settings) -> None:
    """Limit the network to SUSY_THREADS CPU threads."""
    import torch

    if settings.threads:
        torch.set_num_threads(settings.threads)


def print_table(figures: Table) -> None:
    """A table of figures, unless it is empty."""
    if not figures.rows:
        return
    rows = table(*figures.columns)
    for row in figures.rows:
        rows.add_row(*(cell.replace(" [", "\n[") if out.width < _NARROW else cell for cell in row))
    out.print(f"\n{figures.title}", style="bold")
    out.print(rows)
    if figures.note:
        out.print(figures.note, style="dim")


def _patches(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(ErrorCode.SETTINGS, f"--patches {text}: write a number of 1 or more, or all")
    return int(text)


def _precisions(names: str | None, path: Path) -> list[str]:
    """The precisions of the option; empty without it."""
    chosen = [str(one_of(Precision, name, "--precision")) for name in dict.fromkeys(split_names(names or ""))]
    if len(chosen) > 1 and path.suffix != ".safetensors":
        why = f"--precision {names}: a TorchScript program runs as it is; import it first (`susy weights import`)"
        raise ConfigurationError(ErrorCode.SETTINGS, why)
    return chosen


def _document(found: Evaluation, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    from worker.lab.evaluation.tables import document

    compared = [comparison.document() for comparison in comparisons]
    return document(found) | ({"precisions": compared} if compared else {})


def _save(found: Evaluation, comparisons: Sequence[Comparison], folder: Path) -> None:
    from worker.lab.evaluation.report import report
    from worker.lab.evaluation.tables import images_csv

    text = text_of.dumps(_document(found, comparisons), ensure_ascii=False, indent=1) + "\n"
    write_atomically(folder / "evaluation.json", text.encode())
    write_atomically(folder / "images.csv", images_csv(found).encode())
    write_atomically(folder / "report.html", report(found).encode())


def _print(found: Evaluation, comparisons: Sequence[Comparison], *, json: bool) -> None:
    from worker.lab.evaluation import precisions, tables
    from worker.lab.evaluation.items import Level

    if json:
        print_json(_document(found, comparisons))
        return
    plain = found.plain
    for figures in (
        tables.detection(found),
        tables.recognition(found),
        tables.best_thresholds(found),
        tables.by_class(found),
        tables.recalls(found),
        tables.false_positives(found),
        tables.confusion(plain.levels[Level.IMAGE].answers, f"Confusion matrix, per image ({plain.variant})"),
        tables.calibration(found),
        precisions.table(comparisons),
        tables.not_scored(found),
    ):
        print_table(figures)
