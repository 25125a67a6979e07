"""`susy policy`: policy files and the versions in the ledger. What changes decisions is in `policy_change`."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.output import notes, out, print_json, table
from worker.cli.policies import apply, audit, change, history, undo
from worker.cli.policies.backtest import backtest
from worker.cli.policies.find import LATEST, find_policy, policies_of_workers
from worker.settings import load_settings

app = typer.Typer(help="Decision policies.", no_args_is_help=True)
Reference = Annotated[str, typer.Argument(help="A policy file, NAME@VERSION, or NAME for its active version.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command()
def show(
    policy: Annotated[
        str | None,
        typer.Argument(
            help="A policy file, NAME@VERSION, or NAME for its active version; by default what decides here.",
            metavar="[FILE|NAME[@VERSION]]",
        ),
    ] = None,
) -> None:
    """Validate a policy and print it with every default written out, and its version."""
    from worker.policy.selection import PolicySet, load_pinned

    settings = load_settings()
    if policy is not None:
        found = find_policy(policy, settings)
    elif settings.database_url is None:
        found = PolicySet(load_pinned(settings.policy_file, settings.policy_dir)).default
    else:
        found = policies_of_workers(settings).default
    print_json({**found.complete_document, "version": found.version.version})


@app.command()
def check(paths: Annotated[list[Path], typer.Argument(help="Policy files.")]) -> None:
    """Validate policy files; exit 2 at the first that is wrong."""
    from worker.policy.policy import load_policy

    for path in paths:
        out.print(f"{path}: {load_policy(path).version.version}")


@app.command()
def put(paths: Annotated[list[Path], typer.Argument(help="Policy files.")], json: Json = False) -> None:
    """Store policies in the ledger, as versions that never change. They decide nothing until they are activated.

    A policy with thresholds for a generator that the weights do not know is stored with a warning: newer weights may
    know it, and until then it cannot be activated.
    """
    from worker.policy.policy import load_policy
    from worker.store import Store

    policies = [load_policy(path) for path in paths]  # all are valid, or none is stored
    with Store(load_settings().require_database_url(), pool_size=1) as store:
        classes = store.policies.latest_classes()
        for policy in policies:
            created = store.policies.put(policy.version, policy.document)
            if json:
                print_json({"name": policy.name, "version": policy.version.version, "created": created})
            else:
                out.print(f"{policy.version}" + ("" if created else "  (stored before)"))
            if classes is not None and (problem := policy.unknown_generators(classes, weights=LATEST)):
                notes.print(
                    f"policy {policy.version}: {problem}; correct the name, or activate it once newer weights have "
                    "checked an image",
                    style="yellow",
                )


@app.command("list")
def list_versions(json: Json = False) -> None:
    """Every version in the ledger, and which of them decide."""
    from worker.queue.policies import parse_configuration
    from worker.store import Store

    with Store(load_settings().require_database_url(), pool_size=1) as store:
        versions, configuration = store.policies.versions(), parse_configuration(store.policies.revision())
    shadows = {shadow.policy: shadow.sample for shadow in configuration.shadows}
    shown = table("policy", "stored", "use")
    for stored in versions:
        name, version = stored.version.name, stored.version.version
        active, sample = configuration.active.get(name) == version, shadows.get(stored.version)
        if json:
            document = {"name": name, "version": version, "created_at": stored.created_at.isoformat()}
            print_json({**document, "active": active, "shadow_sample": sample, "policy": dict(stored.document)})
            continue
        uses = ["active"] if active else []
        uses += [] if sample is None else [f"in shadow of {sample:.0%}"]
        shown.add_row(str(stored.version), f"{stored.created_at:%Y-%m-%d %H:%M}", ", ".join(uses))
    if not json:
        out.print(shown)


@app.command()
def diff(one: Reference, other: Reference, json: Json = False) -> None:
    """The keys whose values differ between two policies; exit 1 if there are any, as `diff` does."""
    settings = load_settings()
    first, second = (find_policy(reference, settings) for reference in (one, other))
    one_says, other_says = first.complete_document, second.complete_document
    differing = [key for key in one_says if one_says[key] != other_says[key]]
    if json:
        print_json({key: [one_says[key], other_says[key]] for key in differing})
    elif differing:
        shown = table("key", str(first.version), str(second.version))
        for key in differing:
            shown.add_row(key, _compact(one_says[key]), _compact(other_says[key]))
        out.print(shown)
    if differing:
        raise typer.Exit(1)


app.command("backtest")(backtest)
app.command("apply")(apply.apply)
app.command("undo")(undo.undo)
app.command("activate")(change.activate)
app.command("route")(change.route)
app.command("shadow")(change.shadow)
app.command("audit")(audit.audit)
app.command("history")(history.history)
app.command("rollback")(change.rollback)


def _compact(value: Any) -> str:
    return json_text.dumps(value, ensure_ascii=False)
