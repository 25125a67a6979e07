"""`susy endpoint`: where callbacks are sent, and the keys that sign them."""

from __future__ import annotations

import sys
from typing import Annotated, Any
from uuid import uuid4

import typer

from schema.states import KeyKind
from worker.cli.options import LoggedBy, logged
from worker.cli.output import notes, out, print_json, table
from worker.errors import ErrorCode, PermanentError, SusyError
from worker.extras import needs, require_extra
from worker.settings import load_settings
from worker.settings.units import parse_duration
from worker.store.callbacks import CallbackStore, Endpoint

app = typer.Typer(help="Endpoints of callbacks: register, test, disable, rotate keys.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The endpoint's name.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object; with list, one per line.")]
Signature = Annotated[
    KeyKind, typer.Option(help="hmac signs with a secret that the receiver shares; ed25519 gives it a public key.")
]
FromStdin = Annotated[
    bool, typer.Option("--secret-stdin", help="Read the secret (whsec_… or whsk_…) from standard input.")
]


@app.command()
@needs("http")
def add(
    url: Annotated[str, typer.Argument(help="Where callbacks are sent: https://…", metavar="URL")],
    name: Annotated[str, typer.Option(help="A name for it; submissions may name it as their endpoint.")],
    source: Annotated[
        list[str] | None, typer.Option(help="Send it every check of this source; may be given several times.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="It may be on a private network, and without TLS.")
    ] = False,
    signature: Signature = KeyKind.HMAC,
    secret_stdin: FromStdin = False,
    by: LoggedBy = None,
    json: Json = False,
) -> None:
    """Register an endpoint, and print what its receiver verifies callbacks with. A shared secret is shown only now."""
    from worker.callbacks.registration import checked_name, checked_url

    key = _key(signature, secret_stdin)
    canonical = checked_url(url, allow_private=allow_private)
    with _store(logged(by)) as store:
        store.add_endpoint(
            name=checked_name(name),
            url=canonical,
            sources=tuple(dict.fromkeys(source or ())),
            allow_private=allow_private,
            kind=key.kind,
            secret=key.secret,
        )
    _print_key(name, key, as_json=json)
    if not source:
        notes.print(f"It receives the checks whose submission says endpoint={name}.")


@app.command("list")
def list_(json: Json = False) -> None:
    """Print the endpoints."""
    with _store() as store:
        endpoints = store.endpoints()
    if json:
        for endpoint in endpoints:
            print_json(endpoint_document(endpoint))
        return
    shown = table("name", "URL", "sources", "signs with", "state")
    for endpoint in endpoints:
        kinds = ", ".join(str(kind) for kind, _ in endpoint.keys)
        shown.add_row(
            endpoint.name, _without_query(endpoint.url), ", ".join(endpoint.sources) or "–", kinds, state_of(endpoint)
        )
    out.print(shown)


@app.command("test")
@needs("http")
def try_(name: Name, json: Json = False) -> None:
    """Send a signed message of the type `endpoint.test` once, also to a disabled endpoint; print the answer."""
    from worker.callbacks.attempt import send
    from worker.callbacks.payload import trial_body
    from worker.callbacks.sender import client_of

    settings = load_settings()
    with _store() as store:
        endpoint, now = store.endpoint(name), store.now()
    _require_signing(*(kind for kind, _ in endpoint.keys))
    message_id = f"test_{uuid4().hex}"
    try:
        with client_of(endpoint, ca_file=settings.ca_file) as client:
            answer = send(client, endpoint, message_id, trial_body(name, now), timeout=settings.callback_timeout)
        if not 200 <= answer.status < 300:
            raise PermanentError(ErrorCode.CALLBACK_REFUSED, f"{name} answered {answer.status}; 2xx is expected")
    except SusyError as error:
        if not json:
            raise
        print_json({"endpoint": name, "id": message_id, "error": {"code": str(error.code), "message": error.message}})
        raise typer.Exit(1) from None
    if json:
        print_json({"endpoint": name, "id": message_id, "status": answer.status})
    else:
        out.print(f"{name} answered {answer.status}")


@app.command()
def disable(
    name: Name,
    reason: Annotated[str, typer.Option(help="Shown in the list.")] = "by an operator",
    by: LoggedBy = None,
) -> None:
    """Send nothing to an endpoint. What is due waits until it is enabled."""
    with _store(logged(by)) as store:
        changed = store.disable(store.endpoint(name).id, reason)
    out.print(f"{name} is disabled" if changed else f"{name} was disabled before")


@app.command()
def enable(name: Name, by: LoggedBy = None) -> None:
    """Send to an endpoint again, at once: also to one that failed often and is left alone for a while."""
    with _store(logged(by)) as store:
        changed = store.enable(store.endpoint(name).id)
    out.print(f"{name} is enabled" if changed else f"{name} was enabled before")


@app.command()
@needs("http")
def rotate(
    name: Name,
    keep: Annotated[
        str, typer.Option(help="For how long the old keys sign beside the new one; 0 for not at all.")
    ] = "24h",
    signature: Annotated[
        KeyKind | None, typer.Option(help="Of the new key; that of the newest one by default.")
    ] = None,
    secret_stdin: FromStdin = False,
    by: LoggedBy = None,
    json: Json = False,
) -> None:
    """Give an endpoint a new key, and print it. Callbacks carry both signatures until the old key is over."""
    try:
        kept = parse_duration(keep)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--keep") from None
    with _store(logged(by)) as store:
        endpoint = store.endpoint(name)
        newest = endpoint.keys[0][0] if endpoint.keys else KeyKind.HMAC
        key = _key(signature or newest, secret_stdin)
        store.rotate_key(endpoint.id, key.kind, key.secret, keep=kept)
    _print_key(name, key, as_json=json)


def endpoint_document(endpoint: Endpoint) -> dict[str, Any]:
    """The JSON object of an endpoint; no secret."""
    return {
        "name": endpoint.name,
        "url": _without_query(endpoint.url),
        "sources": list(endpoint.sources),
        "allow_private": endpoint.allow_private,
        "signatures": [str(kind) for kind, _ in endpoint.keys],
        "public_keys": _public_keys(endpoint),
        "created_at": endpoint.created_at.isoformat(),
        "disabled_at": endpoint.disabled_at.isoformat() if endpoint.disabled_at else None,
        "disabled_reason": endpoint.disabled_reason,
        "failures": endpoint.failures,
        "open_until": endpoint.open_until.isoformat() if endpoint.open_until else None,
    }


def state_of(endpoint: Any) -> str:
    """The state of an endpoint in a few words."""
    if endpoint.disabled_at is not None:
        return f"disabled: {endpoint.disabled_reason}"
    if endpoint.failures:
        return f"failing, {endpoint.failures} times"
    return "enabled"


def _public_keys(endpoint: Endpoint) -> list[str]:
    from worker.callbacks.signing import SigningKey

    kinds = [kind for kind, _ in endpoint.keys]
    if KeyKind.ED25519 not in kinds:
        return []
    _require_signing(*kinds)
    return [SigningKey(kind, secret).shared for kind, secret in endpoint.keys if kind is KeyKind.ED25519]


def _key(kind: KeyKind, from_stdin: bool):  # type: ignore[no-untyped-def]
    from worker.callbacks.signing import SigningKey

    key = SigningKey.parse(sys.stdin.readline(1000)) if from_stdin else SigningKey.new(kind)
    _require_signing(key.kind)
    return key


def _require_signing(*kinds: KeyKind) -> None:
    if KeyKind.ED25519 in kinds:
        require_extra("deliver", what="signing with Ed25519")


def _print_key(name: str, key: Any, *, as_json: bool) -> None:
    if as_json:
        print_json({"endpoint": name, "signature": str(key.kind), "key": key.shared})
        return
    out.print(key.shared)
    if key.kind is KeyKind.HMAC:
        notes.print("Give this secret to the receiver now; it is not shown again.")


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _store(actor: str = "") -> CallbackStore:
    return CallbackStore(load_settings().require_database_url(), pool_size=1, actor=actor)
