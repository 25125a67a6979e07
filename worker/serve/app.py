"""The application: routes, and the middleware around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI

from worker.errors import SusyError
from worker.log import get_logger
from worker.serve import checks, events, examples, health, hooks, maps, problems
from worker.serve.access import AccessLog
from worker.serve.limits import BodyLimit, Limits
from worker.serve.services import Services
from worker.settings import Settings

log = get_logger(__name__)

_DESCRIPTION = """Submit images, read verdicts. Every request but the probes needs an API key with the scope that its
route names (`submit`, `read`, `review`, or `admin` for all). Errors are `application/problem+json` with a stable
`code`."""

OWN_BODY_LIMITS: tuple[BodyLimit, ...] = ()
"""Functions of the routes that take larger bodies than `MAX_BODY`."""


def create_app(settings: Settings, rates_file: Path | None = None) -> FastAPI:
    """The application. It connects when it is started, and Postgres need not be available then.

    `rates_file` is what the processes of one service share their allowances in (`rates.shared_file`). Raises
    `ConfigurationError` when the URL of Postgres or Redis is missing, or the hooks file is wrong.
    """
    services = Services.create(settings, rates_file)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await services.start()
        await _look_for_keys(services)
        yield
        await services.stop()

    app = FastAPI(
        title="susy-worker",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        # The pages for browsers would load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    app.state.hooks = hooks.Hooks.create(settings)
    problems.install(app)
    app.include_router(health.router)
    for module in (checks, maps, events, hooks):
        app.include_router(module.router, responses=examples.COMMON)
    app.add_middleware(Limits, in_flight=services.in_flight, own_limits=OWN_BODY_LIMITS)
    app.add_middleware(AccessLog)  # outermost
    return app


async def _look_for_keys(services: Services) -> None:
    try:
        await services.keys.read()
    except SusyError as error:  # answered by 503 until Postgres is available
        log.warning("database_unavailable", code=str(error.code), error=error.message)
    else:
        if not services.keys.has_keys:
            log.warning("no_keys", remedy="every request is refused; create a key with `susy key create`")


def _version() -> str:
    try:
        return version("susy-worker")
    except PackageNotFoundError:  # a checkout on the path, not installed
        return "0"
