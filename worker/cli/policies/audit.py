"""`susy policy audit`: how many of a policy's outcomes people look at, so that its error rate can be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.options import By
from worker.cli.output import out, print_json, table
from worker.cli.policies.revision import Expect, Json, change_policies, read_policies
from worker.errors import ErrorCode, PermanentError
from worker.settings import load_settings
from worker.store import Store

if TYPE_CHECKING:
    from worker.policy.configuration import PolicyConfiguration
    from worker.store.policies import PolicyLedger


def audit(
    name: Annotated[
        str | None, typer.Argument(help="A policy's name; without it the rates are printed.", metavar="[NAME]")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Share of the contents that are drawn, 0 to 1.")] = None,
    source: Annotated[
        str | None, typer.Option(help="The source that the rate is for; by default those without a rate of their own.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Remove the rate.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the history.")] = None,
    by: By = None,
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Let people look at a share of a policy's outcomes, drawn by content: always the same ones, also when re-uploaded.

    What is drawn stands in the review queue, also where the policy asks for no review.
    """
    if name is None:
        with Store(load_settings().require_database_url(), pool_size=1) as store:
            _print(read_policies(store.policies)[1], as_json=json)
        return
    if stop is (rate is not None):
        raise typer.BadParameter("give either --rate or --stop", param_hint="--rate")
    if rate is not None and not 0 <= rate <= 1:
        raise typer.BadParameter(f"{rate:g} is not between 0 and 1", param_hint="--rate")
    if reason is None:
        raise typer.BadParameter("say why the rate changes", param_hint="--reason")
    if source is not None and not source.strip():
        raise typer.BadParameter("must not be empty", param_hint="--source")

    def change(ledger: PolicyLedger, current: PolicyConfiguration) -> PolicyConfiguration:
        _require_known(ledger, current, name)
        others = tuple(each for each in current.audits if (each.policy, each.source) != (name, source))
        if rate is None and others == current.audits:
            raise PermanentError(ErrorCode.UNKNOWN_POLICY, f"no audit of {_shown(name, source)} has a rate")
        return current.model_copy(update={"audits": others if rate is None else (*others, _audit(name, source, rate))})

    words = f"audit of {_shown(name, source)}: {'no rate' if rate is None else f'{rate:g}'}"
    change_policies(change, words, reason, by, expect, as_json=json)


def _require_known(ledger: PolicyLedger, current: PolicyConfiguration, name: str) -> None:
    if name != current.default and name not in current.active:
        stored = {version.version.name for version in ledger.versions()}
        if name not in stored:
            raise PermanentError(
                ErrorCode.UNKNOWN_POLICY, f"the ledger has no policy {name!r}; `susy policy list` shows what there is"
            )


def _audit(name: str, source: str | None, rate: float) -> Any:
    from worker.policy.configuration import Audit

    return Audit(policy=name, source=source, rate=rate)


def _shown(name: str, source: str | None) -> str:
    return name if source is None else f"{name} for {source!r}"


def _print(configuration: PolicyConfiguration, *, as_json: bool) -> None:
    shown = table("policy", "source", "rate")
    for each in configuration.audits:
        if as_json:
            print_json(each.model_dump(mode="json"))
        shown.add_row(each.policy, "any other" if each.source is None else each.source, f"{each.rate:g}")
    if not as_json:
        out.print(shown)
