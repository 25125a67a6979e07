"""`susy calibrate`: thresholds for a policy by labels, and a temperature for a weights file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.lab.calibrate_images import Images, calibrate_images
from worker.cli.lab.evaluate import (
    AggregateOption,
    Alias,
    Authentic,
    RuleOption,
    SkipUnreadable,
    Synthetic,
    declarations_of,
    print_table,
)
from worker.cli.options import Since, moment
from worker.cli.output import notes, print_json
from worker.extras import needs
from worker.files import require_replaceable
from worker.policy.policy import POLICY_NAME, Aggregation, Policy, Rule
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from worker.lab.thresholds.calibrate import Labels
    from worker.lab.thresholds.goals import Goals


@needs("worker", "evaluate")
def calibrate(
    data: Annotated[
        Path | None,
        typer.Argument(help="Labelled images: a folder per class, a manifest, or a Parquet data set."),
    ] = None,
    from_reviews: Annotated[
        bool, typer.Option("--from-reviews", help="Labels are the reviews in the ledger, not images.")
    ] = False,
    since: Since = None,
    source: Annotated[str | None, typer.Option(help="With --from-reviews: only checks of this source.")] = None,
    all_reviews: Annotated[
        bool, typer.Option("--all-reviews", help="With --from-reviews: also those that no audit has drawn; biased.")
    ] = False,
    scans_by: Annotated[
        str | None,
        typer.Option(help="With --from-reviews: the beginning of a weights' digest; default: of the latest scan."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The weights file (.safetensors); by default as SUSY_WEIGHTS says.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Fit a temperature, and write the weights with it here.")] = None,
    max_fpr: Annotated[
        float | None, typer.Option(help="Largest share of authentic images called synthetic, such as 0.01.")
    ] = None,
    min_recall: Annotated[
        float | None, typer.Option(help="Smallest share of synthetic images not called authentic, such as 0.9.")
    ] = None,
    precision: Annotated[
        float | None, typer.Option(help="Smallest share of synthetic images among those called synthetic.")
    ] = None,
    prevalence: Annotated[
        float | None, typer.Option(help="Share of synthetic images among all uploads, for --precision.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="The policy that gets the thresholds: FILE, NAME or NAME@VERSION; default: what decides here."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the policy that is written; default: that of --policy.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the policy and the report.")] = Path("calibration"),
    split: Annotated[str, typer.Option(help="The split to calibrate on: images that were not trained on.")] = "val",
    rule: RuleOption = None,
    aggregate: AggregateOption = None,
    authentic: Authentic = None,
    synthetic: Synthetic = None,
    alias: Alias = None,
    skip_unreadable: SkipUnreadable = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Choose a policy's thresholds by labelled images or by reviews, and fit the temperature of weights.

    With --max-fpr, --min-recall or --precision, thresholds are chosen on one half of the labels and measured on the
    other; a policy file and a report are written. With --to, a temperature is fitted and weights are written.
    """
    from worker.lab.evaluation.html import require_folder
    from worker.lab.thresholds.goals import Goals

    goals = Goals(max_fpr, min_recall, precision, prevalence)
    wanted = goals != Goals()
    if wanted or to is None:
        goals.require_complete()
    settings = load_settings()
    if name is not None and re.fullmatch(POLICY_NAME, name) is None:
        raise typer.BadParameter("write lowercase letters, digits, '.', '_' and '-'", param_hint="--name")
    _require_one_origin(
        from_reviews, {"DATA": data, "--to": to, "--weights": weights}, (since, source, all_reviews or None, scans_by)
    )
    fitted: dict[str, Any] = {}
    labels: Labels | None
    if from_reviews:
        base = _base(policy, settings, rule, aggregate, of_workers=True)
        require_folder(folder)
        labels = _from_reviews(base, settings, since, source, scans_by, biased=all_reviews)
    else:
        base = _base(policy, settings, rule, aggregate)
        if data is None:
            raise typer.BadParameter("name labelled images, or say --from-reviews", param_hint="DATA")
        images = Images(data, weights, to, split, declarations_of(authentic, synthetic, alias), skip_unreadable)
        if to is not None:
            require_replaceable(to)
        if wanted:
            require_folder(folder)
        fitted, labels = calibrate_images(images, base, settings, with_labels=wanted, quiet=json)
    document = {**fitted, **(_write(labels, goals, base, name, folder, quiet=json) if labels else {})}
    if json:
        print_json(document)


def _require_one_origin(from_reviews: bool, of_images: dict[str, Any], of_reviews: tuple[Any, ...]) -> None:
    if from_reviews and (given := [option for option, value in of_images.items() if value is not None]):
        raise typer.BadParameter(
            f"reviews are of stored scans; leave out {', '.join(given)}", param_hint="--from-reviews"
        )
    if not from_reviews and any(value is not None for value in of_reviews):
        raise typer.BadParameter("--since, --source, --all-reviews and --scans-by select reviews; add --from-reviews")


def _from_reviews(
    base: Policy, settings: Settings, since: str | None, source: str | None, scans_by: str | None, *, biased: bool
) -> Labels:
    from worker.lab.thresholds.from_reviews import labels_of_reviews
    from worker.store import Store

    with Store(settings.require_database_url(), pool_size=1) as store:
        begin = moment(since, store.now())
        audited = store.reviewed.audited(since=begin, source=source)
        batches = store.reviewed.scans(since=begin, source=source)
        return labels_of_reviews(batches, base, audited, weights=scans_by, biased=biased)


def _base(
    reference: str | None,
    settings: Settings,
    rule: Rule | None,
    aggregate: Aggregation | None,
    *,
    of_workers: bool = False,
) -> Policy:
    """The policy that gets the thresholds, with the rule and the aggregation of the command line."""
    from worker.cli.policies.find import find_policy
    from worker.policy.selection import PolicySet, load_pinned
    from worker.queue.policies import read_policies
    from worker.store import Store

    pinned = load_pinned(settings.policy_file, settings.policy_dir)
    if reference is None and of_workers:
        with Store(settings.require_database_url(), pool_size=1) as store:
            found = read_policies(store.policies, pinned).default
    elif reference is None:
        found = PolicySet(pinned).default
    else:
        found = find_policy(reference, settings)
    return found.model_copy(update={"rule": rule or found.rule, "aggregate": aggregate or found.aggregate})


def _write(
    labels: Labels, goals: Goals, base: Policy, name: str | None, folder: Path, *, quiet: bool
) -> dict[str, Any]:
    """Choose the thresholds, write the policy and the report; the figures, as `--json` prints them."""
    from worker.lab.thresholds import tables
    from worker.lab.thresholds.calibrate import calibrate as choose
    from worker.lab.thresholds.report import write_report

    found = choose(labels, goals, base, name)
    policy, page = write_report(folder, found)
    if not quiet:
        for each in tables.tables(found):
            print_table(each)
    for warning in found.labels.warnings:
        notes.print(warning, style="yellow")
    notes.print(f"policy: {policy} ({found.policy.version}); store it with `susy policy put`")
    notes.print(f"report: {page}")
    return {**tables.document(found), "files": {"policy": str(policy), "report": str(page)}}
