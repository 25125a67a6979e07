"""`susy key`: the API keys of the HTTP service."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from schema.access import Scope
from worker.cli.options import LoggedBy, logged
from worker.cli.output import notes, out, print_json, table
from worker.settings import load_settings
from worker.settings.units import parse_duration
from worker.store import ApiKey, Store

app = typer.Typer(help="API keys of the HTTP service.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object per key.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What operators call it, such as upload-hook.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; repeatable. By default submit and read.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="The only sources it may submit for and read; repeatable. Default: all.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Its lifetime, such as 90d. By default it does not end.")] = None,
    by: LoggedBy = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Create a key and print it. It is shown this once: the ledger holds only its SHA-256."""
    scopes = scope or [Scope.SUBMIT, Scope.READ]
    with _store(logged(by)) as store:
        key = store.keys.add(name, scopes, sources=source or None, lifetime=_lifetime(expires))
    if json:
        print_json({"name": name, "key": key, "scopes": sorted(map(str, scopes)), "sources": source or None})
    else:
        out.print(key, soft_wrap=True)
        notes.print(f"{name} may {', '.join(sorted(scopes))}. Keep the key: it is not shown again.")
    if Scope.REVIEW in scopes and not {Scope.READ, Scope.SUPERVISE}.isdisjoint(scopes):
        notes.print(
            "It can also read what people decided. For a moderators' tool create a key with --scope review alone: the "
            "second of two reviewers must not learn what the first one said."
        )


@app.command("list")
def list_(json: Json = False) -> None:
    """Print every key with its state, never the key itself."""
    with _store() as store:
        keys = store.keys.all()
    if json:
        for key in keys:
            print_json(key_document(key))
        return
    rows = table("name", "state", "scopes", "sources", "created", "last used", "expires")
    for key in keys:
        rows.add_row(
            key.name,
            _state(key),
            ", ".join(sorted(key.scopes)),
            "all" if key.sources is None else ", ".join(sorted(key.sources)),
            _shown(key.created_at),
            _shown(key.last_used_at),
            _shown(key.expires_at),
        )
    out.print(rows)


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")], by: LoggedBy = None) -> None:
    """Refuse a key from now on; running services notice within 10 s."""
    with _store(logged(by)) as store:
        if not store.keys.revoke(name):
            notes.print(f"There is no key named {name} that is not revoked.")
            raise typer.Exit(1)
    out.print(f"{name} is revoked")


def key_document(key: ApiKey) -> dict[str, Any]:
    """The JSON object of a key."""
    return {
        "name": key.name,
        "state": _state(key),
        "scopes": sorted(map(str, key.scopes)),
        "sources": None if key.sources is None else sorted(key.sources),
        **{
            name: moment.isoformat() if (moment := getattr(key, name)) else None
            for name in ("created_at", "last_used_at", "expires_at", "revoked_at")
        },
    }


def _store(actor: str = "") -> Store:
    return Store(load_settings().require_database_url(), pool_size=1, actor=actor)


def _lifetime(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None
    if not 0 < seconds < 100 * 366 * 86400:
        raise typer.BadParameter("must be more than nothing and less than a century", param_hint="--expires")
    return seconds


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.is_expired else "valid"


def _shown(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
