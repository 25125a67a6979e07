"""`susy policy activate`, `route`, `shadow` and `rollback`: what decides, changed one revision at a time."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from schema.verdict import PolicyVersion
from worker.cli.options import By
from worker.cli.output import notes, out, print_json
from worker.cli.policies.cases import count_regressions
from worker.cli.policies.find import Version, parse, stored, usable
from worker.cli.policies.revision import Expect, Json, Reason, change_policies, read_policies
from worker.errors import ConfigurationError, ErrorCode, PermanentError
from worker.settings import load_settings
from worker.store import Store
from worker.validation import describe_invalid, read_toml

if TYPE_CHECKING:
    from worker.policy.configuration import PolicyConfiguration
    from worker.store.policies import PolicyLedger


def activate(
    version: Version,
    reason: Reason,
    max_regressions: Annotated[
        int, typer.Option(help="Cases that may become wrong; `susy cases check` names them.", min=0)
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="However many regress; the history says so.")] = False,
    by: By = None,
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Let a version decide from now on, in place of the one of its name that did. Workers follow within 10 seconds.

    Refused if it would be wrong about an image that people decided about, where the present policy is not.
    """
    chosen, regressed = parse(version), 0

    def change(ledger: PolicyLedger, current: PolicyConfiguration) -> PolicyConfiguration:
        nonlocal regressed
        policy, active = usable(ledger, chosen), current.active.get(chosen.name)
        if active != chosen.version:
            before = None if active is None else stored(ledger, PolicyVersion(chosen.name, active))
            regressed = count_regressions(ledger.cases, policy, before, max_regressions, force=force)
        return current.model_copy(update={"active": {**current.active, chosen.name: chosen.version}})

    def words() -> str:
        return f"activate {chosen}" + (f", although {regressed} of its cases regress" if regressed else "")

    configuration = change_policies(change, words, reason, by, expect, as_json=json)
    if chosen.name not in {configuration.default, *(route.policy for route in configuration.routes)}:
        notes.print(
            f"No route leads to {chosen.name}: it decides only about checks that name it. See `susy policy route`.",
            style="yellow",
        )


def route(
    file: Annotated[
        Path | None,
        typer.Argument(help="The routes, as a TOML file that replaces all of them; without it they are printed."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the history.")] = None,
    by: By = None,
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Choose the policy of checks that name none, by their source and attributes; the first route that matches."""
    if file is None:
        with Store(load_settings().require_database_url(), pool_size=1) as store:
            _print_routes(read_policies(store.policies)[1], as_json=json)
        return
    if reason is None:
        raise typer.BadParameter("say why the routes change", param_hint="--reason")
    routes = _load_routes(file)

    def change(_ledger: PolicyLedger, current: PolicyConfiguration) -> PolicyConfiguration:
        changed = current.model_copy(update=routes)
        if missing := changed.missing():
            raise ConfigurationError(
                ErrorCode.POLICY_INVALID,
                f"routes {file}: no version of {', '.join(missing)} is active; activate one, or correct the name",
            )
        return changed

    change_policies(change, f"route by {file.name}", reason, by, expect, as_json=json)


def shadow(
    version: Version,
    reason: Reason,
    sample: Annotated[
        float, typer.Option(help="Share of the contents that it decides about, above 0 and up to 1.")
    ] = 1.0,
    stop: Annotated[bool, typer.Option("--stop", help="End it.")] = False,
    by: By = None,
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Let a version decide beside the live ones, without effect; `dashboard.shadow_differences` compares them."""
    chosen = parse(version)

    def change(ledger: PolicyLedger, current: PolicyConfiguration) -> PolicyConfiguration:
        others = tuple(each for each in current.shadows if each.policy != chosen)
        if stop:
            if others == current.shadows:
                raise PermanentError(ErrorCode.UNKNOWN_POLICY, f"{chosen} does not run in shadow")
            return current.model_copy(update={"shadows": others})
        usable(ledger, chosen)
        return current.model_copy(update={"shadows": (*others, _shadow(chosen, sample))})

    words = f"end the shadow of {chosen}" if stop else f"shadow {chosen}, sample {sample:g}"
    change_policies(change, words, reason, by, expect, as_json=json)


def rollback(
    revision: Annotated[int, typer.Argument(help="The revision to return to, as `susy policy history` shows it.")],
    reason: Reason,
    by: By = None,
    expect: Expect = None,
    json: Json = False,
) -> None:
    """Let an earlier revision apply again, as a new one: active versions, routes and shadows."""
    from worker.queue.policies import parse_configuration

    def change(ledger: PolicyLedger, _current: PolicyConfiguration) -> PolicyConfiguration:
        return parse_configuration(ledger.revision_at(revision))

    change_policies(change, f"return to revision {revision}", reason, by, expect, as_json=json)


def _load_routes(file: Path) -> dict[str, Any]:
    """The `routes` and the `default` of a configuration. Raises `ConfigurationError` naming file, key and remedy."""
    from worker.policy.configuration import PolicyConfiguration

    try:
        document = read_toml(file)
        if unknown := sorted(set(document) - {"default", "route"}):
            raise ConfigurationError(
                ErrorCode.POLICY_INVALID,
                f"routes {file}: {', '.join(unknown)}: unknown; a file of routes has `default` and `[[route]]`",
            )
        renamed = {"routes": document.get("route", []), "default": document.get("default", "default")}
        parsed = PolicyConfiguration.model_validate(renamed)
    except ValidationError as error:
        problems = describe_invalid(error, whole="the routes")
        raise ConfigurationError(ErrorCode.POLICY_INVALID, f"routes {file}: {problems}") from error
    except ValueError as error:
        raise ConfigurationError(ErrorCode.POLICY_INVALID, f"routes {file} {error}") from error
    return {"routes": parsed.routes, "default": parsed.default}


def _print_routes(configuration: PolicyConfiguration, *, as_json: bool) -> None:
    """The routes in the form in which a file sets them."""
    if as_json:
        print_json(configuration.model_dump(mode="json", include={"routes", "default"}))
        return
    lines = [f"default = {_toml(configuration.default)}"]
    for each in configuration.routes:
        lines += ["", "[[route]]"]
        lines += [] if each.source is None else [f"source = {_toml(each.source)}"]
        if each.attributes:
            pairs = ", ".join(f"{_toml(name)} = {_toml(value)}" for name, value in each.attributes.items())
            lines.append(f"attributes = {{ {pairs} }}")
        lines.append(f"policy = {_toml(each.policy)}")
    out.print("\n".join(lines), soft_wrap=True)


def _toml(value: str | float) -> str:
    """A string, number or boolean, as TOML writes it; its strings are those of JSON."""
    return json_text.dumps(value, ensure_ascii=True)


def _shadow(version: PolicyVersion, sample: float) -> Any:
    from worker.policy.configuration import Shadow

    if not 0 < sample <= 1:
        raise typer.BadParameter(f"{sample:g} is not above 0 and up to 1", param_hint="--sample")
    return Shadow(name=version.name, version=version.version, sample=sample)
