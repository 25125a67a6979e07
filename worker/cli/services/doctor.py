"""`susy doctor`: whether this setup can work."""

from __future__ import annotations

import os
from collections.abc import Callable

import redis
import typer
from rich.table import Table
from rich.text import Text

from schema.states import Lane
from worker.cli.output import out
from worker.errors import ConfigurationError, ErrorCode, SetupError, SusyError
from worker.extras import require_extra
from worker.settings import Settings, load_settings, unknown_variables

_NEED_DATABASE = ("logins", "policies")
"""Parts that ask nothing but the database."""


def doctor() -> None:
    """Test settings, servers, sources of images, weights, device, memory, policies and hooks; exit 2 if one fails."""
    settings = load_settings()
    examinations: dict[str, Callable[[Settings], str]] = {
        "settings": _settings,
        "database": _database,
        "logins": _logins,
        "redis": _redis,
        "roots": _roots,
        "buckets": _buckets,
        "urls": _urls,
        "storage": _storage,
        "weights": _weights,
        "device": _device,
        "memory": _memory,
        "policies": _policies,
        "hooks": _hooks,
    }
    table = Table("part", "state", "finding", box=None, pad_edge=False)
    healthy = is_database_available = True
    for part, examination in examinations.items():
        if part in _NEED_DATABASE and not is_database_available:  # which has been waited for once
            table.add_row(part, Text("skipped", "yellow"), "needs the database")
            continue
        try:
            table.add_row(part, Text("ok", "green"), examination(settings))
        except SusyError as error:
            if error.code is ErrorCode.MISSING_EXTRA:  # where images are submitted, not examined
                table.add_row(part, Text("skipped", "yellow"), error.message)
                continue
            healthy = False
            is_database_available &= error.code is not ErrorCode.DATABASE_UNAVAILABLE
            table.add_row(part, Text("fails", "red"), error.message)
    out.print(table)
    if not healthy:
        raise typer.Exit(2)


def _settings(_settings: Settings) -> str:
    unknown = unknown_variables(os.environ)
    return f"valid, but these variables are not settings: {', '.join(unknown)}" if unknown else "valid"


def _database(settings: Settings) -> str:
    from worker.store import Store
    from worker.store.migrate import require_current

    url = settings.require_database_url()
    require_current(url)
    with Store(url, pool_size=1) as store:
        paused = [str(lane) for lane in Lane if store.paused_at(lane)]
    return "reachable, schema up to date" + (f"; paused by an operator: {', '.join(paused)}" if paused else "")


def _logins(settings: Settings) -> str:
    from worker.store import Store

    with Store(settings.require_database_url(), pool_size=1) as store:
        logins = store.reading_logins()
    remarks = [f"{login.name} has no {' and no '.join(login.without)}" for login in logins if login.without]
    remarks += [
        f"{login.name} moderates and reads what others decided (docs/reviews.md)"
        for login in logins
        if login.moderates_and_reads
    ]
    if remarks:
        return f"{'; '.join(remarks)}; see docs/database.md, Roles"
    return (
        f"{len(logins)} of dashboards and moderators' tools, all with time limits" if logins else "none of dashboards"
    )


def _redis(settings: Settings) -> str:
    try:
        with settings.require_redis().client(timeout=5) as client:
            facts = client.info()
    except redis.RedisError as error:
        raise SetupError(ErrorCode.QUEUE_UNAVAILABLE, f"SUSY_REDIS_URL: {error}") from error
    if facts.get("loading"):
        raise SetupError(ErrorCode.QUEUE_UNAVAILABLE, "Redis is loading its data; wait until it has")
    if facts.get("role", "master") != "master":
        raise ConfigurationError(
            ErrorCode.SETTINGS, "SUSY_REDIS_URL leads to a replica, which takes no messages; name the primary"
        )
    if facts["maxmemory_policy"] != "noeviction":
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            f"Redis evicts messages when full (maxmemory-policy {facts['maxmemory_policy']}); set it to noeviction",
        )
    return f"reachable, version {facts['redis_version']}, noeviction"


def _roots(settings: Settings) -> str:
    if not settings.image_roots and (settings.buckets or settings.url_hosts):
        return "none: no file is read"
    for root in settings.require_image_roots():
        if not root.is_dir():
            raise ConfigurationError(ErrorCode.SETTINGS, f"SUSY_IMAGE_ROOTS names {root}, which is not a folder")
    return ", ".join(map(str, settings.image_roots))


def _buckets(settings: Settings) -> str:
    if not settings.buckets:
        return "none: no object is read"
    from worker.sources.objects import Stores, probe

    stores = Stores(settings)
    return ", ".join(f"{rule} ({probe(rule, stores, settings)})" for rule in settings.buckets)


def _urls(settings: Settings) -> str:
    if not settings.url_hosts:
        return "none: no URL is read"
    from worker.sources.urls import UrlReader

    UrlReader(settings).close()
    schemes = "https and http" if settings.url_http else "https"
    return f"{', '.join(settings.url_hosts)}, by {schemes}, at ports {', '.join(map(str, settings.url_ports))}"


def _storage(settings: Settings) -> str:
    if settings.storage is None:
        return "none: no image is taken in a request"
    from worker.sources.storage import open_storage

    open_storage(settings)
    return settings.storage


def _weights(settings: Settings) -> str:
    require_extra("worker", what="examining images")
    from worker.detector.paths import weights_path
    from worker.detector.weights import load_weights

    path = weights_path(settings)
    _, info = load_weights(path)
    return f"{info.name} {info.version}, digest {info.sha256[:12]}" + (" (demonstration)" if info.is_demo else "")


def _device(settings: Settings) -> str:
    require_extra("worker", what="examining images")
    from worker.detector.detector import choose_device

    return str(choose_device(settings.device))


def _memory(settings: Settings) -> str:
    require_extra("worker", what="examining images")
    from worker.intake.webp import BYTES_PER_PIXEL

    budget, largest = settings.memory_budget, (BYTES_PER_PIXEL + 3) * settings.max_pixels
    finding = f"{budget / 1e9:.1f} GB for the images in flight"
    if largest > budget:
        finding += f"; one of SUSY_MAX_PIXELS takes up to {largest / 1e9:.1f} GB and is then decoded alone"
    return finding


def _policies(settings: Settings) -> str:
    from worker.policy.selection import load_pinned
    from worker.queue.policies import read_policies
    from worker.store import Store

    pinned = load_pinned(settings.policy_file, settings.policy_dir)
    with Store(settings.require_database_url(), pool_size=1) as store:
        policies = read_policies(store.policies, pinned)
    origin = f"ledger revision {policies.revision}" if policies.revision else "none in the ledger"
    names = [f"{policy.version}{' (pinned)' if policy.name in pinned.named else ''}" for policy in policies]
    if pinned.default is not None:
        origin += ", whose routes SUSY_POLICY_FILE overrides"
    return f"{', '.join(names)}; {origin}"


def _hooks(settings: Settings) -> str:
    if settings.hooks_file is None:
        return "SUSY_HOOKS_FILE is not set: no hooks are accepted"
    from worker.hooks.mapping import load_hooks
    from worker.policy.selection import load_pinned
    from worker.queue.policies import read_policies
    from worker.store import Store

    hooks = load_hooks(settings.hooks_file)
    with Store(settings.require_database_url(), pool_size=1) as store:
        pinned = load_pinned(settings.policy_file, settings.policy_dir)
        policies = {policy.name for policy in read_policies(store.policies, pinned)}
        endpoints = store.endpoint_names()
    for mapping in hooks.mapping:
        for what, name, known in (("policy", mapping.policy, policies), ("endpoint", mapping.endpoint, endpoints)):
            if name is not None and name not in known:
                raise ConfigurationError(
                    ErrorCode.HOOKS_INVALID,
                    f"hooks file {settings.hooks_file}: {mapping.location.uri} names the {what} {name!r}, which does "
                    f"not exist; add it, or correct the file",
                )
    return ", ".join(f"{mapping.location.uri} is {mapping.source}" for mapping in hooks.mapping)
