"""`susy evaluate`: how good weights are on labelled images."""

from __future__ import annotations

import json as text_of
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from worker.cli.check import with_some_weights
from worker.cli.output import notes, out, print_json, progress_bar, table
from worker.errors import ConfigurationError, ErrorCode
from worker.files import write_atomically
from worker.policy.policy import Aggregation, Rule
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from worker.lab.evaluation.results import Evaluation
    from worker.lab.evaluation.scorer import Scorer
    from worker.lab.evaluation.tables import Sheet

CheckFilter = TypeVar("CheckFilter", bound=StrEnum)

_NARROW = 150  # columns; below, an interval goes under its figure


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
RuleOption = Annotated[Rule, typer.Option(help="The detector's rule.")]
AggregateOption = Annotated[Aggregation, typer.Option(help="How an image's tiles become one answer.")]
Authentic = Annotated[list[str] | None, typer.Option(help="A label counted as authentic, in detection alone.")]
Synthetic = Annotated[list[str] | None, typer.Option(help="A label counted as synthetic, in detection alone.")]
Alias = Annotated[list[str] | None, typer.Option(help="LABEL=CLASS: a label that is a class under another name.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="Count unreadable images instead of failing.")]


def evaluate(
    data: Data,
    weights: Weights = None,
    classes: Classes = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    variants: Annotated[
        str, typer.Option(help="Of original, jpeg, downscaled and down_up, separated by commas.")
    ] = "original",
    quality: Annotated[int, typer.Option(min=1, max=95, help="JPEG quality of the variant jpeg.")] = 75,
    scale: Annotated[float, typer.Option(min=0.01, max=0.99, help="Of both sides, in downscaled and down_up.")] = 0.5,
    resample: Annotated[str, typer.Option(help="box, bilinear, bicubic or lanczos, when scaling.")] = "bicubic",
    patches: Annotated[str, typer.Option(help="How many tiles of highest contrast are scored, or all.")] = "5",
    rule: RuleOption = Rule.SUM,
    aggregate: AggregateOption = Aggregation.MEAN,
    authentic: Authentic = None,
    synthetic: Synthetic = None,
    alias: Alias = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples behind the intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
    skip_unreadable: SkipUnreadable = False,
    to: Annotated[Path, typer.Option("--out", help="Folder for the report and the files of figures.")] = Path(
        "evaluation"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Print and save the model card's tables for weights on labelled images: detection, recognition, calibration."""
    from worker.lab.dataset.layouts import open_dataset
    from worker.lab.evaluation.bootstrap import Bootstrap
    from worker.lab.evaluation.evaluate import evaluate as run
    from worker.lab.evaluation.evaluate import watching
    from worker.lab.evaluation.files import require_folder
    from worker.lab.evaluation.html import require_extra
    from worker.lab.evaluation.results import Options
    from worker.lab.evaluation.scoring import Treatment
    from worker.lab.evaluation.variants import Alterations, Filter, Variant

    require_extra()
    options = Options(
        split=split,
        treatment=Treatment(
            tuple(one_of(Variant, name, "--variants") for name in dict.fromkeys(split_names(variants))),
            Alterations(quality, scale, one_of(Filter, resample, "--resample")),
            _patches(patches),
        ),
        rule=rule,
        aggregate=aggregate,
        authentic=tuple(authentic or ()),
        synthetic=tuple(synthetic or ()),
        alias=read_alias(alias or []),
        bootstrap=Bootstrap(bootstrap, seed),
        skip_unreadable=skip_unreadable,
    )
    folder = require_folder(to)
    scorer = scorer_of(weights, classes)
    with progress_bar() as bar:
        found = run(open_dataset(data), scorer, options, watching(bar))
    _save(found, folder)
    _print(found, json=json)
    notes.print(f"report: {folder / 'report.html'}")


def scorer_of(weights: Path | None, classes: str | None) -> Scorer:
    """The network that `--weights`, or else the settings, ask for, on the settings' device."""
    from worker.detector.paths import weights_path
    from worker.lab.evaluation.scorer import open_scorer

    settings = load_settings()
    limit_threads(settings)
    path = weights or weights_path(with_some_weights(settings))
    return open_scorer(path, settings.device, None if classes is None else split_names(classes))


def limit_threads(settings: Settings) -> None:
    """Let the network use as many CPU threads as SUSY_THREADS says."""
    import torch

    if settings.threads:
        torch.set_num_threads(settings.threads)


def print_sheet(sheet: Sheet) -> None:
    """A table of figures, unless it is empty."""
    if not sheet.rows:
        return
    rows = table(*sheet.columns)
    for row in sheet.rows:
        rows.add_row(*(cell.replace(" [", "\n[") if out.width < _NARROW else cell for cell in row))
    out.print(f"\n{sheet.title}", style="bold")
    out.print(rows)
    if sheet.note:
        out.print(sheet.note, style="dim")


def split_names(names: str) -> list[str]:
    """`a,b` → [`a`, `b`]."""
    return [name.strip() for name in names.split(",") if name.strip()]


def read_alias(pairs: list[str]) -> dict[str, str]:
    """`LABEL=CLASS` of each; raises `SetupError` for another form."""
    if wrong := [pair for pair in pairs if pair.count("=") != 1]:
        raise ConfigurationError(ErrorCode.SETTINGS, f"--alias {wrong[0]}: write LABEL=CLASS")
    return {label: name for label, _, name in (pair.partition("=") for pair in pairs)}


def one_of(choices: type[CheckFilter], name: str, option: str) -> CheckFilter:
    """The choice of that name; raises `SetupError` that names the others."""
    try:
        return choices(name)
    except ValueError:
        raise ConfigurationError(ErrorCode.SETTINGS, f"{option} {name}: it is one of {', '.join(choices)}") from None


def _patches(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(ErrorCode.SETTINGS, f"--patches {text}: write a number from 1 on, or all")
    return int(text)


def _save(found: Evaluation, folder: Path) -> None:
    from worker.lab.evaluation.records import document, images_csv
    from worker.lab.evaluation.report import report

    text = text_of.dumps(document(found), ensure_ascii=False, indent=1) + "\n"
    write_atomically(folder / "evaluation.json", text.encode())
    write_atomically(folder / "images.csv", images_csv(found).encode())
    write_atomically(folder / "report.html", report(found).encode())


def _print(found: Evaluation, *, json: bool) -> None:
    from worker.lab.evaluation import tables
    from worker.lab.evaluation.items import Level
    from worker.lab.evaluation.records import document

    if json:
        print_json(document(found))
        return
    plain = found.plain
    for sheet in (
        tables.detection(found),
        tables.recognition(found),
        tables.best_thresholds(found),
        tables.by_class(found),
        tables.recalls(found),
        tables.false_positives(found),
        tables.answers(plain.levels[Level.IMAGE].answers, f"Confusion matrix, per image ({plain.variant})"),
        tables.calibration(found),
        tables.not_scored(found),
    ):
        print_sheet(sheet)
