"""`susy policy backtest`: what a policy would have decided about the past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from schema.states import Decision
from worker.cli.options import Since, moment
from worker.cli.output import notes, out, print_json, progress_bar, table
from worker.cli.policies.cases import cases_document, print_cases
from worker.cli.policies.find import find_policy
from worker.extras import needs
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections import Counter

    from rich.table import Table

    from worker.lab.backtest import Agreement, Backtest, Share
    from worker.lab.flips import Flip

SHOWN_FLIPS = 30
"""Rows of the table of flips; `--json` has all of them."""


@needs("worker")
def backtest(
    policy: Annotated[str, typer.Argument(help="A policy file, NAME@VERSION, or NAME for its active version.")],
    since: Since = None,
    source: Annotated[str | None, typer.Option(help="Only checks of this source.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Decide the scans in the ledger again, without writing: what would change, and the reviews per day.

    Where people reviewed, precision, recall and false-positive rate of both are compared, with their intervals. Cases,
    in which people overrode a policy, are shown one by one where they are fixed or regress.
    """
    from worker.lab.backtest import backtest as run
    from worker.lab.cases import compare_policies
    from worker.store import Store

    settings = load_settings()
    chosen = find_policy(policy, settings)
    with Store(settings.require_database_url(), pool_size=1) as store, progress_bar() as bar:
        task = bar.add_task(f"deciding by {chosen.version}", total=None)
        batches = store.policies.decided_scans(since=moment(since, store.now()), source=source)
        result = run(chosen, batches, lambda count: bar.advance(task, count))
        cases = compare_policies(store.cases.read(source=source), chosen)
    if json:
        print_json({**_document(result), "cases": cases_document(cases)})
    else:
        _print(result)
        print_cases(cases)


def _print(result: Backtest) -> None:
    out.print(f"{result.policy.version}: checks {result.checks}, days {len(result.days)}, flips {_flipped(result)}")
    if not result.checks:
        return
    decisions = table("decision", "before", "after")
    for decision in Decision:
        decisions.add_row(str(decision), str(result.decisions_before[decision]), str(result.decisions_after[decision]))
    per_day = [f"{count / len(result.days):.1f}" for count in (result.reviews_before, result.reviews_after)]
    decisions.add_row("reviews per day", *per_day)
    out.print(decisions)
    if result.flips:
        out.print(flips_table(result.flips))
    if result.reviewed:
        figures = table(f"of {result.reviewed} reviewed checks", "before", "after")
        for name in ("precision", "recall", "false_positive_rate"):
            shares = [_shown(getattr(agreement, name)) for agreement in (result.before, result.after)]
            figures.add_row(name.replace("_", " "), *shares)
        out.print(figures)
        notes.print(
            "Reviewed checks are those that policies sent to people or people chose: their rates are not those of all."
        )


def flips_table(flips: Counter[Flip]) -> Table:
    """Decisions that change, by source and generator, the most frequent first."""
    shown = table("source", "generator", "before", "after", "checks")
    for flip, count in flips.most_common(SHOWN_FLIPS):
        shown.add_row(flip.source, flip.generator or "–", str(flip.before), str(flip.after), str(count))
    if len(flips) > SHOWN_FLIPS:
        notes.print(f"{len(flips) - SHOWN_FLIPS} rarer kinds of flips are left out; --json has them.")
    return shown


def flips_document(flips: Counter[Flip]) -> list[dict[str, Any]]:
    """All of them, as JSON."""
    return [
        {
            "source": flip.source,
            "generator": flip.generator,
            "before": str(flip.before),
            "after": str(flip.after),
            "checks": count,
        }
        for flip, count in flips.most_common()
    ]


def _shown(share: Share) -> str:
    if share.value is None or share.interval is None:
        return "–"
    low, high = share.interval
    return f"{share.value:.3f} ({low:.3f}–{high:.3f}), {share.count} of {share.of}"


def _document(result: Backtest) -> dict[str, Any]:
    return {
        "policy": {"name": result.policy.name, "version": result.policy.version.version},
        "checks": result.checks,
        "days": len(result.days),
        "decisions": {
            str(decision): [result.decisions_before[decision], result.decisions_after[decision]]
            for decision in Decision
        },
        "needs_review": [result.reviews_before, result.reviews_after],
        "flips": flips_document(result.flips),
        "reviewed": {"checks": result.reviewed, "before": _figures(result.before), "after": _figures(result.after)},
    }


def _figures(agreement: Agreement) -> dict[str, Any]:
    shares = {name: getattr(agreement, name) for name in ("precision", "recall", "false_positive_rate")}
    return {
        name: {"value": share.value, "interval": share.interval, "count": share.count, "of": share.of}
        for name, share in shares.items()
    }


def _flipped(result: Backtest) -> int:
    return sum(result.flips.values())
