"""Who sends a request, and whether they may: dependencies of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from schema.access import Scope
from worker.errors import ErrorCode
from worker.serve.problems import RefusedError
from worker.serve.requests.access_log import note
from worker.serve.shared.services import services_of
from worker.store import ApiKey

_bearer = HTTPBearer(
    scheme_name="API key",
    description="A key that `susy key create` printed, as `Authorization: Bearer susy_…`.",
    auto_error=False,
)


def authorized(scope: Scope) -> Callable[..., Awaitable[ApiKey]]:
    """A dependency that answers 401, 403 or 429 unless the request carries a key with `scope` and has allowance left.

    The route must ask `require_source` before it uses a source.
    """

    async def authorize(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> ApiKey:
        if credentials is None:
            raise RefusedError(
                ErrorCode.NO_CREDENTIALS, "send an API key: Authorization: Bearer susy_…; `susy key create` makes one"
            )
        return await admitted(request, credentials.credentials, scope)

    return authorize


async def admitted(request: Request, secret: str, scope: Scope) -> ApiKey:
    """The key that `secret` is, if it has `scope` and allowance left. Raises `RefusedError` with 401, 403 or 429."""
    services = services_of(request)
    key = await services.keys.find(secret)
    note(request, key=key.name)
    services.rates.admit(key.id)
    require_scope(key, scope)
    return key


def require_scope(key: ApiKey, scope: Scope) -> None:
    """Raise `RefusedError` (`missing_scope`) unless the key has `scope`."""
    if not key.may(scope):
        has = ", ".join(sorted(key.scopes))
        raise RefusedError(ErrorCode.MISSING_SCOPE, f"the API key {key.name!r} lacks the scope {scope}; it has {has}")


def require_source(key: ApiKey, source: str) -> None:
    """Raise `RefusedError` (`forbidden_source`) unless the key may submit for `source`."""
    if not key.may_use(source):
        raise RefusedError(
            ErrorCode.FORBIDDEN_SOURCE, f"the API key {key.name!r} may not use the source {source!r}; use another key"
        )


Submitter = Annotated[ApiKey, Depends(authorized(Scope.SUBMIT))]
"""The key of a request that needs the scope `submit`."""
Reader = Annotated[ApiKey, Depends(authorized(Scope.READ))]
"""The key of a request that needs the scope `read`."""
