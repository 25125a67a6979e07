"""`susy cases`: images about which people overrode a policy, and what a policy or weights decide about them now."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from worker.cli.options import Since, author, moment
from worker.cli.output import notes, out, print_json, progress_bar, table
from worker.cli.policies.find import find_policy
from worker.errors import ErrorCode, PermanentError, printable
from worker.extras import needs
from worker.files import write_atomically
from worker.settings import load_settings
from worker.store import Store

if TYPE_CHECKING:
    from worker.lab.cases import Outcome
    from worker.policy.policy import Policy
    from worker.store.cases import Case, CaseTable

app = typer.Typer(help="The regression set: images about which people overrode a policy.", no_args_is_help=True)
Source = Annotated[str | None, typer.Option(help="Only of this source.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
SHOWN_CASES = 50
"""Rows of a table of cases; `--json` has all of them."""


@app.command("list")
def list_cases(source: Source = None, json: Json = False) -> None:
    """Every case: what people said, what the policy had said, and whether there still is a scan to decide about."""
    shown = table("content", "expected", "overridden", "source", "external id", "by", "when", "scan")
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        for case in _each(store.cases.read(source=source)):
            if json:
                print_json(_document(case))
                continue
            shown.add_row(
                case.content_sha256[:12],
                case.expected or "withdrawn",
                case.overridden,
                case.source,
                case.external_id,
                case.added_by,
                f"{case.added_at:%Y-%m-%d %H:%M}",
                "missing" if case.scan is None else case.scan.model.name,
            )
    if not json:
        out.print(shown)


@app.command()
def add(
    check_ids: Annotated[list[UUID] | None, typer.Argument(help="Reviewed checks.", metavar="CHECK_ID…")] = None,
    reviewed: Annotated[bool, typer.Option("--reviewed", help="Every check that a person has decided about.")] = False,
    since: Since = None,
    source: Source = None,
    by: Annotated[str | None, typer.Option(help="Who; by default the user of this machine.")] = None,
    json: Json = False,
) -> None:
    """Make cases of reviewed checks, also where people agreed with the policy. Overrides become cases by themselves."""
    if bool(check_ids) is reviewed or (check_ids and (since or source)):
        raise typer.BadParameter("name checks, or say --reviewed, perhaps with --since and --source")
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        if check_ids:
            count = store.cases.add(check_ids, by=author(by))
        else:
            begin = moment(since, store.now())
            count = store.cases.add_reviewed(by=author(by), since=begin, source=source)
    if json:
        print_json({"added": count})
    else:
        out.print(f"cases added: {count}")


@app.command()
def export(
    to: Annotated[Path | None, typer.Argument(help="A CSV file; without it, the lines are printed.")] = None,
    source: Source = None,
) -> None:
    """Write the cases as a manifest of labelled images, which `susy evaluate` and `susy calibrate` take."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(
        ["path", "class", "split", "dataset", "picture", "uri", "overridden", "policy", "check_id", "external_id", "by"]
    )
    count = 0
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        for case in _each(store.cases.read(source=source)):
            if case.expected is None:
                continue
            count += 1
            lines.writerow(
                [_path(case.uri), case.expected, "test", case.source, case.content_sha256, case.uri, case.overridden,
                 case.policy_name, case.check_id, case.external_id, case.added_by]
            )  # fmt: skip
    if to is None:
        written = text.getvalue()
        # A terminal would interpret what an uploader put into a name; a pipe gets it as it is.
        print("\n".join(map(printable, written.split("\n"))) if out.is_terminal else written, end="")
    else:
        write_atomically(to, text.getvalue().encode(errors="replace"))
        notes.print(f"cases: {count}, in {to}")


@app.command()
@needs("worker")
def check(
    policy: Annotated[
        str | None,
        typer.Argument(help="A policy file, NAME@VERSION, or NAME; default: what decides about each case now."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights that scan the images again, where they can still be read.")
    ] = None,
    source: Source = None,
    max_regressions: Annotated[int, typer.Option(help="Cases that may become wrong.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Decide about every case again, by a policy or by new weights; exit 1 if more regress than may."""
    from worker.lab.cases import Change, compare_policies, of_change
    from worker.lab.cases_scanned import compare_weights

    if policy is None:
        if weights is None:
            raise typer.BadParameter("name a policy, or --weights, or both")
        policy = "default"
    settings = load_settings()
    chosen = find_policy(policy, settings)
    with Store(settings.require_database_url(), pool_size=1) as store, progress_bar() as bar:
        task = bar.add_task(f"deciding by {chosen.version}", total=None)
        batches = store.cases.read(source=source)
        if weights is None:
            outcomes = compare_policies(batches, chosen, advance=lambda count: bar.advance(task, count))
        else:
            scanning = settings.model_copy(update={"weights": str(weights)})
            outcomes = compare_weights(batches, chosen, scanning, advance=lambda: bar.advance(task))
    if json:
        print_json({"policy": str(chosen.version), **cases_document(outcomes)})
    else:
        print_cases(outcomes)
    if len(of_change(outcomes, Change.REGRESSED)) > max_regressions:
        raise typer.Exit(1)


def print_cases(outcomes: list[Outcome]) -> None:
    """How many cases are fixed, regress and so on, and image by image those that are fixed, regress or are unknown."""
    from worker.lab.cases import Change

    if not outcomes:
        return
    counts = Counter(outcome.change for outcome in outcomes)
    words = ", ".join(f"{change.value.replace('_', ' ')} {counts[change]}" for change in Change if counts[change])
    out.print(f"cases {len(outcomes)}: {words}")
    named = [
        outcome
        for change in (Change.REGRESSED, Change.FIXED, Change.UNKNOWN)
        for outcome in outcomes
        if outcome.change is change
    ]
    if not named:
        return
    shown = table("case", "source", "external id", "is", "before", "after", "change")
    for outcome in named[:SHOWN_CASES]:
        case = outcome.case
        shown.add_row(
            case.content_sha256[:12],
            case.source,
            case.external_id,
            case.expected or "–",
            outcome.before or "–",
            outcome.after or outcome.why,
            outcome.change,
        )
    out.print(shown)
    if len(named) > SHOWN_CASES:
        notes.print(f"{len(named) - SHOWN_CASES} more cases are left out; --json has them.")


def cases_document(outcomes: list[Outcome]) -> dict[str, Any]:
    """All outcomes, as JSON."""
    counts = Counter(outcome.change for outcome in outcomes)
    return {
        "cases": len(outcomes),
        "changes": {change.value: count for change, count in sorted(counts.items())},
        "images": [
            {
                **_document(outcome.case),
                "before": outcome.before,
                "after": outcome.after,
                "change": outcome.change,
                "why": outcome.why or None,
            }
            for outcome in outcomes
        ],
    }


def count_regressions(cases: CaseTable, policy: Policy, before: Policy | None, most: int, *, force: bool) -> int:
    """How many cases of the policy's name regress, which may be no more than `most` unless `force`.

    Says which could not be decided. Raises `PermanentError` (`cases_regress`).
    """
    from worker.lab.cases import Change, compare_policies, of_change

    outcomes = compare_policies(cases.read(policy=policy.name), policy, before)
    regressed = of_change(outcomes, Change.REGRESSED)
    if unknown := of_change(outcomes, Change.UNKNOWN):
        notes.print(
            f"{len(unknown)} of {len(outcomes)} cases of {policy.name} have no scan any more and were not looked at.",
            style="yellow",
        )
    if len(regressed) > most and not force:
        names = ", ".join(f"{each.case.source}/{each.case.external_id}" for each in regressed[:3])
        more = f" and {len(regressed) - 3} more" if len(regressed) > 3 else ""
        raise PermanentError(
            ErrorCode.CASES_REGRESS,
            f"{policy.version} would be wrong about {len(regressed)} of {len(outcomes)} images that people decided "
            f"about, where the present policy is not: {names}{more}; look at `susy cases check {policy.version}`, then "
            f"allow them with --max-regressions {len(regressed)}, or use --force",
        )
    return len(regressed)


def _path(uri: str) -> str:
    """The path of a local image, as a manifest names it; any other URI as it is."""
    from worker.sources.files import as_text, path_of

    try:
        return as_text(path_of(uri))
    except PermanentError:
        return uri


def _each(batches: Iterable[list[Case]]) -> Iterator[Case]:
    for batch in batches:
        yield from batch


def _document(case: Case) -> dict[str, Any]:
    return {
        "content_sha256": case.content_sha256,
        "check_id": str(case.check_id),
        "source": case.source,
        "external_id": case.external_id,
        "uri": case.uri,
        "policy": case.policy_name,
        "expected": case.expected,
        "overridden": case.overridden,
        "by": case.added_by,
        "added_at": case.added_at.isoformat(),
        "has_scan": case.scan is not None,
    }
