"""`susy reviews`: bulk reviews, what is undone, and how reviewers compare. One review is `susy review`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from schema.states import CheckState, Decision
from worker.cli.checks import reviews_golden
from worker.cli.options import moment
from worker.cli.output import notes, out, print_json, table
from worker.cli.policies.revision import change_policies, read_policies
from worker.settings import load_settings
from worker.store import Store
from worker.store.reviews import MAX_BATCH, MatchCount, ReviewFilter

if TYPE_CHECKING:
    from worker.policy.configuration import PolicyConfiguration
    from worker.store.policies import PolicyLedger

app = typer.Typer(help="What people decided: in bulk, undone, and compared.", no_args_is_help=True)
app.add_typer(reviews_golden.app, name="golden")

Source = Annotated[str | None, typer.Option(help="Only those of this source.")]
Since = Annotated[
    str | None, typer.Option(help="Not before this time: 2026-01-31T08:00, or 2h for two hours ago (s, m, h, d).")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per row.")]
Score = Annotated[float | None, typer.Option(min=0, max=1)]


@app.command()
def bulk(
    as_: Annotated[Decision, typer.Option("--as", help="What the images are.")],
    by: Annotated[str, typer.Option(help="Who decided.")],
    note: Annotated[str | None, typer.Option(help="Why; for other reviewers.")] = None,
    source: Source = None,
    decision: Annotated[Decision | None, typer.Option(help="Only those with this verdict.")] = None,
    policy: Annotated[str | None, typer.Option(help="Only those that this policy decided.")] = None,
    generator: Annotated[str | None, typer.Option(help="Only those with this generator.")] = None,
    min_score: Score = None,
    max_score: Score = None,
    since: Since = None,
    until: Annotated[str | None, typer.Option(help="Not after this time, in the same form.")] = None,
    state: Annotated[CheckState | None, typer.Option(help="Only those in this state, such as quarantined.")] = None,
    reviewed_too: Annotated[
        bool, typer.Option("--reviewed-too", help="Also override what people decided about single checks.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(help="At most so many, those accepted first; without it, more than fit are refused.", min=1,
                     max=MAX_BATCH),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many match.")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Review every check that matches, as one: it has one id, and `susy reviews undo` undoes it as one.

    Times are those of acceptance. Checks that a person has reviewed are left alone.
    """
    if not by.strip():
        raise typer.BadParameter("must not be empty", param_hint="--by")
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        now = store.now()
        where = ReviewFilter(
            source, decision, policy, generator, min_score, max_score, moment(since, now), moment(until, now), state,
            reviewed_too,
        )  # fmt: skip
        if not where.document().keys() - {"reviewed_too"}:
            raise typer.BadParameter("name at least one filter, such as --source", param_hint="--source")
        if dry_run:
            _print_counts(store.reviews.count(where), as_json=json)
            return
        batch_id, count = store.reviews.add_batch(where, reviewer=by.strip(), decision=as_, note=note, limit=limit)
    if json:
        print_json({"batch_id": str(batch_id), "reviews": count, "decision": str(as_), "by": by.strip()})
    else:
        out.print(f"{batch_id}  {count} reviewed as {as_}, by {by.strip()}")


@app.command()
def undo(
    review_id: Annotated[
        UUID, typer.Argument(help="A review or a bulk review, as they are printed when they are made.", metavar="ID")
    ],
    by: Annotated[str, typer.Option(help="Who undoes it.")],
    reason: Annotated[str, typer.Option(help="Why; kept.")],
    json: Json = False,
) -> None:
    """Let a review, or a bulk review as a whole, not count any more. Earlier reviews, or the verdict, count again."""
    for option, text in (("--by", by), ("--reason", reason)):
        if not text.strip():
            raise typer.BadParameter("must not be empty", param_hint=option)
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        undone = store.reviews.undo(review_id, by=by.strip(), reason=reason.strip())
    if json:
        print_json({"undo_id": str(undone.undo_id), "reviews": undone.reviews})
    else:
        out.print(f"{undone.undo_id}  {undone.reviews} undone")


@app.command()
def agreement(source: Source = None, since: Since = None, json: Json = False) -> None:
    """How far people agree about checks that two of them decided about, the second without seeing the first's answer.

    Cohen's kappa of each pair, Krippendorff's alpha of all: 1 is full agreement, 0 is what chance would give.
    """
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        found = store.reviews.agreement(since=moment(since, store.now()), source=source)
    if json:
        for each in found:
            print_json(asdict(each))
        return
    if not found:
        notes.print("Nobody has given a second review. `susy reviews configure --second 0.05` asks for some.")
        return
    shown = table("reviewers", "checks", "same", "coefficient")
    for each in found:
        is_pair = each.reviewer is not None
        names = f"{each.reviewer}, {each.other_reviewer}" if is_pair else f"all {each.reviewers}"
        name, value = ("kappa", each.cohens_kappa) if is_pair else ("alpha", each.krippendorffs_alpha)
        coefficient = "undefined" if value is None else f"{name} {value:.3f}"
        shown.add_row(names, str(each.checks), f"{each.agreement:.1%}", coefficient)
    out.print(shown)


@app.command()
def accuracy(json: Json = False) -> None:
    """How often each person was right about golden items, with 95 % intervals."""
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        found = store.reviews.accuracy()
    shown = table("reviewer", "answers", "correct", "inconclusive", "accuracy")
    for each in found:
        if json:
            print_json(asdict(each))
            continue
        interval = f"{each.accuracy:.1%} ({each.accuracy_low:.1%} to {each.accuracy_high:.1%})"
        shown.add_row(each.reviewer, str(each.answers), str(each.correct), str(each.inconclusive), interval)
    if not json:
        out.print(shown)


@app.command()
def configure(
    second: Annotated[
        float | None,
        typer.Option(help="Share of reviewed contents that a second person decides about too.", min=0, max=1),
    ] = None,
    golden: Annotated[
        float | None, typer.Option(help="Probability that a claim gets an item whose answer is known.", min=0, max=1)
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the history.")] = None,
    by: Annotated[str | None, typer.Option(help="Who; by default the user of this machine.")] = None,
    json: Json = False,
) -> None:
    """Set how many reviews a second person repeats, and how often a golden item is given; without options print both.

    A change is a revision of the policies (`susy policy history`, `rollback`), and applies to reviews from now on.
    """
    if second is None and golden is None:
        with Store(load_settings().require_database_url(), pool_size=1) as store:
            rates = read_policies(store.policies)[1].reviews
        if json:
            print_json(rates.model_dump())
        else:
            out.print(f"second reviews: {rates.second_rate:g}\ngolden items: {rates.golden_rate:g}")
        return
    if reason is None:
        raise typer.BadParameter("say why the rates change", param_hint="--reason")
    given = {"second_rate": second, "golden_rate": golden}
    changes = {name: rate for name, rate in given.items() if rate is not None}

    def change(_ledger: PolicyLedger, current: PolicyConfiguration) -> PolicyConfiguration:
        return current.model_copy(update={"reviews": current.reviews.model_copy(update=changes)})

    words = ", ".join(f"{name.removesuffix('_rate')} {rate:g}" for name, rate in changes.items())
    change_policies(change, f"rates of reviews: {words}", reason, by, None, as_json=json)


def _print_counts(counts: list[MatchCount], *, as_json: bool) -> None:
    if as_json:
        for each in counts:
            print_json(asdict(each))
        return
    shown = table("source", "verdict", "checks")
    for each in counts:
        shown.add_row(each.source, each.decision or "none", str(each.checks))
    shown.add_row("all", "", str(sum(each.checks for each in counts)))
    out.print(shown)
