"""`/v1/hooks/{sender}`: what storage and upload servers report, each authenticated as it can be.

Senders that can send a header use an API key, as `Bearer` or as the password of `Basic`; SNS and Standard Webhooks are
known by their signatures.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self
from uuid import NAMESPACE_URL, uuid5

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse, Response

from schema.access import Scope
from worker.errors import ErrorCode, PermanentError, TransientError
from worker.extras import require_extra
from worker.hooks.accept import MAY_USE_ALL, Outcome, accept
from worker.hooks.counts import Counts
from worker.hooks.events import Message
from worker.hooks.mapping import HooksFile, load_hooks
from worker.hooks.senders import sns
from worker.hooks.senders.registry import SENDERS
from worker.hooks.signatures import verify_webhook
from worker.log import get_logger
from worker.serve.hooks.examples import HOOK
from worker.serve.problems import RefusedError, problem_response, status_of
from worker.serve.requests.access_log import note
from worker.serve.requests.authorization import Reader, require_scope
from worker.serve.shared.services import Services, services_of
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.hooks.sns_signature import Fetch, SnsVerifier

log = get_logger(__name__)

MAX_IDS = 50
"""Check ids in an answer."""
MAX_REFUSALS = 20
"""Errors in an answer."""
_SIGNED = {name: uuid5(NAMESPACE_URL, f"urn:susy-worker:sender:{name}") for name in ("sns", "webhook")}
"""By which the allowance of senders without an API key is counted."""

router = APIRouter(prefix="/v1/hooks", tags=["hooks"])


@dataclass(frozen=True, eq=False)
class Hooks:
    """What the hooks of one process share."""

    file: HooksFile | None
    verifier: SnsVerifier | None
    counts: Counts

    @classmethod
    def create(cls, settings: Settings, fetch: Fetch | None = None) -> Self:
        """Raises `ConfigurationError` when the hooks file is wrong. `fetch` is how SNS is asked."""
        if settings.hooks_file is None:
            return cls(None, None, Counts())
        file = load_hooks(settings.hooks_file)
        return cls(file, _verifier(file, fetch), Counts())

    def require_file(self) -> HooksFile:
        """Raises `RefusedError` (`hooks_disabled`)."""
        if self.file is None:
            raise RefusedError(ErrorCode.HOOKS_DISABLED, "no hooks are accepted; set SUSY_HOOKS_FILE and restart")
        return self.file


def _verifier(file: HooksFile, fetch: Fetch | None) -> SnsVerifier | None:
    if not file.sns.topics:
        return None
    require_extra("http", "deliver", what="[sns] of the hooks file")
    from worker.hooks.sns_signature import SnsVerifier

    return SnsVerifier(file.sns.topics, fetch or sns_fetch())


def sns_fetch(*, deadline: float = 10.0, max_bytes: int = 65_536, **options: Any) -> Fetch:
    """Fetches from hosts of SNS and from no others, at public addresses. `options` are those of `SafeClient`."""
    from worker.safe_http.client import SafeClient
    from worker.safe_http.policy import AccessPolicy

    policy = AccessPolicy(hosts=("*.amazonaws.com", "*.amazonaws.com.cn"), ports=frozenset({443}), max_redirects=0)
    client = SafeClient(options.pop("policy", policy), **options)

    def fetch(url: str) -> bytes:
        response = client.request("GET", url, deadline=deadline, max_bytes=max_bytes)
        if response.status != 200 or not response.is_whole:
            raise TransientError(
                ErrorCode.REMOTE_UNAVAILABLE, f"SNS answered with status {response.status} where 200 was expected"
            )
        return response.content

    return fetch


def hooks_of(request: Request) -> Hooks:
    """A dependency of routes."""
    hooks: Hooks = request.app.state.hooks
    return hooks


Shared = Annotated[Services, Depends(services_of)]
SharedHooks = Annotated[Hooks, Depends(hooks_of)]
Sender = Annotated[str, Path(description=f"One of {', '.join(SENDERS)}.")]


@router.get("", summary="Outcomes of events since this process started")
async def counts(_key: Reader, hooks: SharedHooks) -> list[dict[str, str | int]]:
    """One object per sender, outcome (accepted, repeated, ignored, refused) and reason or error code."""
    return hooks.counts.snapshot()


@router.post("/{sender}", summary="Report uploads", **HOOK)
async def receive(request: Request, sender: Sender, services: Shared, hooks: SharedHooks) -> Response:
    """Once this answers 200, every upload that the message reports is in Postgres, and events that are not uploads were
    counted.

    Where an event of a message is refused, the answer is an error that lists the refusals. The other events were
    accepted nevertheless, and the message may be repeated.
    """
    if sender not in SENDERS:
        raise RefusedError(ErrorCode.UNKNOWN_SENDER, f"the senders are {', '.join(SENDERS)}")
    file = hooks.require_file()
    message = Message(await request.body(), dict(request.headers))
    may_use = await _authenticate(request, sender, message, services, hooks)
    outcome = await services.call(_accept, sender, message, file, services, may_use)
    hooks.counts.add(sender, outcome)
    note(request, sender=sender, **_facts(outcome))
    return _answer(sender, outcome)


@router.options("/cloudevents", include_in_schema=False)
async def allow(request: Request) -> Response:
    """The handshake of CloudEvents' webhooks: senders such as Azure Event Grid ask whether they may deliver."""
    origin = request.headers.get("webhook-request-origin", "")
    headers = {"Allow": "POST, OPTIONS"}
    if origin and origin.isascii() and origin.isprintable() and len(origin) <= 253:
        headers |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
    return Response(status_code=200, headers=headers)


async def _authenticate(
    request: Request, sender: str, message: Message, services: Services, hooks: Hooks
) -> Callable[[str], bool]:
    """Which sources this sender may submit for. Raises `RefusedError` or `PermanentError` when it is not known."""
    if sender not in _SIGNED:
        key = await services.keys.find(_api_key(request))
        note(request, key=key.name)
        services.rates.admit(key.id)
        require_scope(key, Scope.SUBMIT)
        return key.may_use
    services.rates.admit(_SIGNED[sender])
    if sender == "webhook":
        verify_webhook(message.headers, message.body, hooks.require_file().webhook.keys)
    else:
        await services.call(_verify_sns, message, hooks)
    return MAY_USE_ALL


def _api_key(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "basic":
        try:
            credentials = base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            credentials = ""
    if scheme.lower() not in ("bearer", "basic") or not credentials:
        raise RefusedError(
            ErrorCode.NO_CREDENTIALS,
            "send an API key, as `Authorization: Bearer susy_…` or as the password of Basic authentication",
        )
    return credentials


def _verify_sns(message: Message, hooks: Hooks) -> None:
    if hooks.verifier is None:
        raise RefusedError(ErrorCode.UNKNOWN_TOPIC, "no topic may deliver; list its ARN in [sns] of SUSY_HOOKS_FILE")
    received = sns.envelope(message)
    hooks.verifier.verify(received)
    if received.kind is sns.Kind.SUBSCRIPTION:
        hooks.verifier.confirm(received)
    elif received.kind is sns.Kind.UNSUBSCRIPTION:
        log.warning("sns_unsubscribed", topic=received.topic)


def _accept(
    sender: str, message: Message, file: HooksFile, services: Services, may_use: Callable[[str], bool]
) -> Outcome:
    try:
        events = SENDERS[sender](message)
    except PermanentError as error:
        return Outcome(refused=[error])
    return accept(events, file, services.store, services.publisher, may_use=may_use)


def _facts(outcome: Outcome) -> dict[str, Any]:
    """For the access log."""
    facts: dict[str, Any] = {"accepted": len(outcome.accepted), "repeated": len(outcome.repeated)}
    if outcome.ignored:
        facts["ignored"] = {str(reason): number for reason, number in outcome.ignored.items()}
    if len(outcome.check_ids) == 1:
        facts["check_id"] = str(outcome.check_ids[0])
    if outcome.refused:
        facts["code"] = str(outcome.refused[0].code)
    return facts


def _answer(sender: str, outcome: Outcome) -> Response:
    """tusd acts on what an answer contains, so it gets an empty one."""
    document: dict[str, Any] = {
        "accepted": len(outcome.accepted),
        "repeated": len(outcome.repeated),
        "ignored": {str(reason): number for reason, number in outcome.ignored.items()},
        "check_ids": [str(check_id) for check_id in outcome.check_ids[:MAX_IDS]],
    }
    if not outcome.refused:
        return JSONResponse({} if sender == "tusd" else document)
    first = outcome.refused[0]
    if len({status_of(error) for error in outcome.refused}) > 1:
        first = RefusedError(ErrorCode.INVALID_EVENT, f"{len(outcome.refused)} events are refused; see `refused`")
    refused = [{"code": str(error.code), "detail": error.message} for error in outcome.refused[:MAX_REFUSALS]]
    return problem_response(first, **document, refused=refused)
