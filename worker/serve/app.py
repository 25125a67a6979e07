"""The application: routes, and the middleware around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI

from worker.errors import PermanentError, SusyError, TransientError
from worker.log import get_logger
from worker.serve import health, openapi, problems
from worker.serve.gate import routes as gate
from worker.serve.gate.rules import GateRules
from worker.serve.hooks import routes as hooks
from worker.serve.reading import checks as reading
from worker.serve.reading import events, maps
from worker.serve.requests.access_log import AccessLog
from worker.serve.requests.limits import Limits
from worker.serve.reviews import claims, queue, reviews, supervision
from worker.serve.shared.services import Services
from worker.serve.shared.times import DEFAULT_TIMES, TimeLimits
from worker.serve.submitting import checks as submitting
from worker.serve.submitting import images
from worker.settings import Settings

log = get_logger(__name__)

_DESCRIPTION = """Submit images, read verdicts, review. Every request but the probes needs an API key with the scope
that its route names (`submit`, `read`, `review`, `supervise`, or `admin` for all). Errors are
`application/problem+json` with a stable `code`."""


def create_app(settings: Settings, rates_file: Path | None = None, times: TimeLimits = DEFAULT_TIMES) -> FastAPI:
    """The application. It connects when it is started, and Postgres need not be available then.

    `rates_file` is what the processes of one service share their allowances in (`rates.shared_file`). Raises
    `ConfigurationError` when the URL of Postgres or Redis is missing, or `SUSY_STORAGE` or the file of the hooks or of
    the gate is wrong.
    """
    services = Services.create(settings, rates_file, times)

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
    app.state.gate_rules = GateRules.load(settings.gate_file)
    own_limits = (images.body_limit(settings.max_bytes, images.PATH, gate.PATH, gate.PICT_RS_PATH),)
    # A storage that cannot be used ends the start, not the first request.
    with suppress(PermanentError, TransientError):  # no storage, or none at the moment
        _ = services.storage
    problems.install(app)
    app.include_router(health.router)
    for module in (reading, submitting, maps, events, images, gate, hooks, reviews, queue, claims, supervision):
        app.include_router(module.router, responses=openapi.COMMON)
    app.add_middleware(Limits, in_flight=services.in_flight, times=times, own_limits=own_limits)
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
