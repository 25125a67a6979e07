"""Every setting, read from `SUSY_…` variables once, checked, frozen.

Reading order: `Settings`, whose fields are the settings; `load_settings`, which every process calls once; then the
types of values and the sources they come from. `docs/settings.md` and the README's table are made from the fields by
`python -m tools.settings_table`.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from schema.scan import MAX_STRIDE, MAX_TILES, MIN_STRIDE, TILE, SelectionGrid, Tiling
from worker.cores import usable_cores
from worker.errors import ConfigurationError, ErrorCode, PermanentError
from worker.image_roots import require_images
from worker.memory import default_budget
from worker.object_location import BucketRule
from worker.redis_url import EXAMPLE as REDIS_URL_EXAMPLE
from worker.redis_url import RedisUrl
from worker.safe_http.addresses import Network, parse_network
from worker.safe_http.urls import parse_host
from worker.service_url import service_url
from worker.units import Duration, Size
from worker.validation import describe_invalid

STATE_DIRECTORY = Path(".susy")
"""Where `susy up` keeps its data and leaves the addresses of its servers."""
SERVICES_FILE = STATE_DIRECTORY / "services.toml"

PREFIX = "SUSY_"
PUBLIC = "public"
"""The word in `SUSY_URL_HOSTS` for every host that has only public addresses."""
DATABASE_URL_EXAMPLE = "postgresql://user:password@host:5432/database"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """Readable on a terminal, JSON elsewhere."""
    JSON = "json"
    CONSOLE = "console"


def setting(
    default: Any,
    description: str,
    unit: str,
    *,
    default_text: str = "",
    old_name: str = "",
    is_essential: bool = False,
    **limits: Any,
) -> Any:
    """A field of `Settings`.

    `default` is a value or a function without parameters. `default_text` says what an absent value stands for;
    `old_name` is what the version before called the setting; an essential one is listed in the README.
    """
    facts: dict[str, Any] = {
        "unit": unit,
        "default_text": default_text,
        "old_name": old_name,
        "is_essential": is_essential,
    }
    source = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**source, description=description, json_schema_extra=facts, **limits)


def default_concurrency() -> int:
    """Enough images in flight that decoding keeps the network busy on every core."""
    return min(max(4, 2 * usable_cores()), 32)


def default_serve_workers() -> int:
    """One process for two cores: the rest is for Postgres, Redis and workers."""
    return min(max(1, usable_cores() // 2), 8)


class Settings(BaseSettings):
    """All settings of one process. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    # Servers
    database_url: str | None = setting(None, "Postgres, as a libpq URL.", "URL", is_essential=True)
    redis_url: str | None = setting(
        None, "Redis or Valkey: `redis://`, `rediss://` (TLS) or `unix://` (a socket).", "URL", is_essential=True
    )
    key_prefix: str = setting(
        "susy:", "Put before every Redis key, so that several deployments can share a server.", "text", max_length=100
    )

    # The HTTP service, for clients of it
    url: str | None = setting(
        None,
        "Address of a `susy serve`. With it, the Python client and `susy submit` speak HTTP and need neither Postgres "
        "nor Redis.",
        "URL",
        is_essential=True,
    )
    api_key: str | None = setting(
        None, "The key for it, as `susy key create` printed it.", "text", max_length=200, repr=False, is_essential=True
    )

    # Detector
    weights: str | None = setting(
        None,
        "A weights file, or `demo` for the demonstration weights.",
        "file",
        default_text="that of `susy weights pull`",
        is_essential=True,
    )
    device: str = setting(
        "auto",
        "Where the network runs: `auto`, `cpu`, `cuda` or `cuda:N`. `auto` takes a GPU if there is one.",
        "name",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        is_essential=True,
    )
    precision: str = setting(
        "auto",
        "The numbers that the network computes with: `auto`, `float32`, `bfloat16` or `float16`. `auto` is `float16` "
        "on a GPU and `bfloat16` on a CPU with AMX or AVX-512 BF16 instructions, if the weights keep their accuracy as "
        "measured by `susy weights import`, and `float32` elsewhere. `float16` needs a GPU.",
        "name",
        pattern=r"^(auto|float32|bfloat16|float16)$",
    )
    tiling: SelectionGrid = setting(
        SelectionGrid.COVERAGE,
        "The grid that scored tiles are selected from: `coverage` or `reference`. `coverage` covers every pixel, "
        "`reference` the whole tiles from the top left, as the released example does.",
        "name",
    )
    stride: int = setting(
        TILE,
        "Distance between the tiles of the localization map. A smaller one draws finer maps and scores more tiles.",
        "pixels",
        ge=MIN_STRIDE,
        le=MAX_STRIDE,
    )
    max_tiles: int = setting(
        MAX_TILES,
        "Most tiles of one image that are scored. The map of an image with more tiles is made from a coarser grid of "
        "them, and its check says `map_sampled`.",
        "tiles",
        ge=16,
    )
    batch_size: int | None = setting(
        None,
        "Most tiles in one forward pass of the network.",
        "tiles",
        default_text="16 on a CPU, 128 on CUDA",
        old_name="batch",
        ge=1,
        le=1024,
    )
    threads: int | None = setting(
        None,
        "CPU threads that run the network, each on batches of its own. A GPU is fed by one thread.",
        "threads",
        default_text="as many as the process may use cores",
        ge=1,
        le=256,
    )

    # Images
    image_roots: Annotated[tuple[Path, ...], NoDecode] = setting(
        (),
        "Folders under which images may be read, separated by `:`. No file outside them is opened.",
        "folders",
        old_name="roots",
        is_essential=True,
    )
    buckets: Annotated[tuple[BucketRule, ...], NoDecode] = setting(
        (),
        "Buckets that images may be read from, separated by `,`: `s3://bucket`, or `s3://bucket/prefix/` for a part of "
        "it; `gs://` and `az://` likewise. No other object is read. Endpoints and credentials come from the variables "
        "of the stores' own tools.",
        "buckets",
        is_essential=True,
    )
    url_hosts: Annotated[tuple[str, ...], NoDecode] = setting(
        (),
        "Hosts that images may be read from by URL, separated by `,`: a name, `*.example.com` for all names below it, "
        "or `public` for every host that has only public addresses. Without any, no URL is read.",
        "hosts",
        is_essential=True,
    )
    url_http: bool = setting(
        False, "Whether images may be read by `http://` URLs beside `https://`.", "`true` or `false`"
    )
    url_ports: Annotated[tuple[int, ...], NoDecode] = setting(
        (80, 443),
        "Ports of the hosts that images may be read from, separated by `,`.",
        "ports",
        default_text="`80,443`",
    )
    url_networks: Annotated[tuple[Network, ...], NoDecode] = setting(
        (),
        "Private or loopback networks that hosts listed by name may have addresses in, separated by `,`, such as "
        "`10.1.0.0/16`. All other addresses must be public.",
        "networks",
    )
    ca_file: Path | None = setting(
        None,
        "Certificate authorities to trust for URLs, callbacks and object stores beside the system's, a PEM file.",
        "file",
    )
    fetch_timeout: Duration = setting(
        30.0,
        "Longest time that reading one image from a URL or a bucket may take. Below `SUSY_HARD_DEADLINE`.",
        "duration",
        ge=0.1,
    )
    storage: str | None = setting(
        None,
        "Where uploaded images are stored under their SHA-256: a folder, or `s3://bucket/prefix/` (`gs://`, `az://`).",
        "folder or bucket",
        is_essential=True,
    )
    max_bytes: Size = setting(
        50_000_000, "Largest encoded image. A larger one is quarantined as `too_many_bytes`.", "size", ge=1
    )
    max_pixels: int = setting(
        100_000_000,
        "Largest decoded image. A larger one is quarantined as `too_many_pixels`, before it is decoded.",
        "pixels",
        ge=1,
    )

    memory: Size | None = setting(
        None,
        "Memory that the images in flight take at once in one process. Images wait for their turn within it; one that "
        "exceeds it is processed alone. The process itself takes about 600 MB more.",
        "size",
        default_text="half of the machine's memory, or of its cgroup's limit",
        ge=1,
    )

    # Decisions
    policy_file: Path | None = setting(
        None,
        "The default policy, a TOML file.",
        "file",
        default_text="the built-in policy",
        old_name="policy",
        is_essential=True,
    )
    policy_dir: Path | None = setting(
        None,
        "A folder of further policies, which a submission may name. Every `*.toml` file in it is one.",
        "folder",
        old_name="policies",
    )

    # Hooks
    hooks_file: Path | None = setting(
        None,
        "The mapping of buckets and folders to sources, a TOML file. Without it, no hook is accepted and no queue "
        "consumed.",
        "file",
    )

    # Queue
    concurrency: int = setting(
        default_concurrency,
        "Images in flight in one worker process.",
        "images",
        default_text="twice the cores that the process may use, 4 to 32",
        ge=1,
        le=256,
        is_essential=True,
    )
    lease_duration: Duration = setting(
        90.0,
        "How long a worker holds a check without a heartbeat. Then another worker may take the check.",
        "duration",
        old_name="lease",
        gt=0,
    )
    heartbeat_interval: Duration = setting(
        15.0,
        "Time between two renewals of a worker's leases. At most half of `SUSY_LEASE_DURATION`.",
        "duration",
        old_name="heartbeat",
        gt=0,
    )
    hard_deadline: Duration = setting(
        240.0,
        "Longest time that one attempt may take. Then its worker process exits. Below `SUSY_VISIBILITY_TIMEOUT`.",
        "duration",
        gt=0,
    )
    visibility_timeout: Duration = setting(
        300.0, "Time after which Redis gives an unacknowledged message to another worker.", "duration", gt=0
    )
    max_attempts: int = setting(5, "Attempts at one check before it is quarantined.", "attempts", ge=1, le=100)
    shutdown_grace: Duration = setting(
        30.0,
        "Time that a stopping worker has to finish the images it holds. Then it gives the rest back.",
        "duration",
        old_name="grace",
        ge=0,
    )
    alive_file: Path | None = setting(
        None,
        "A file that the worker touches while it is not stuck, at every heartbeat. `susy health alive` reads it.",
        "file",
    )
    reconcile_interval: Duration = setting(
        5.0, "Time between two rounds of the reconciler.", "duration", old_name="reconcile_every", gt=0
    )

    # HTTP service
    serve_host: str = setting(
        "127.0.0.1",
        "Address that `susy serve` listens on. `0.0.0.0` or `::` are all addresses of the machine; put a proxy that "
        "speaks TLS in front.",
        "address",
        min_length=1,
        is_essential=True,
    )
    serve_port: int = setting(8484, "Port that `susy serve` listens on.", "number", ge=1, le=65_535)
    serve_workers: int = setting(
        default_serve_workers,
        "Processes of `susy serve`.",
        "processes",
        default_text="half of the cores that the process may use, 1 to 8",
        ge=1,
        le=64,
    )
    gate_file: Path | None = setting(
        None,
        "What the gate of `susy serve` answers per source, a TOML file.",
        "file",
        default_text="the built-in rules",
    )
    serve_rate: float = setting(
        200.0,
        "Requests per second that one API key may send to `susy serve`, over a few seconds. More are answered by 429.",
        "requests per second",
        gt=0,
        le=1e6,
        allow_inf_nan=False,
    )
    max_wait_live: Duration = setting(
        3600.0,
        "How long the oldest due check of a source may have waited in `live` when `susy serve` accepts another one of "
        "that source and lane. Then it answers 429. 0: always accepted.",
        "duration",
        ge=0,
    )
    max_wait_backfill: Duration = setting(0.0, "The same in `backfill`. 0: always accepted.", "duration", ge=0)

    # Callbacks
    public_url: str | None = setting(
        None,
        "Where receivers of callbacks reach `susy serve`, for links such as that of the map. Without it the links are "
        "paths.",
        "URL",
        pattern=r"^https?://[^\s?#]+$",
    )
    callback_timeout: Duration = setting(
        20.0, "Longest time that one callback may take, from resolving the name to the answer.", "duration", gt=0, le=60
    )
    callback_concurrency: int = setting(
        16, "Callbacks that one `susy deliver` sends to the same endpoint at once.", "requests", ge=1, le=64
    )
    callback_retention: Duration = setting(
        30 * 86_400.0, "How long delivered callbacks are kept, for operators to look up.", "duration", ge=0
    )

    # Logs
    log_format: LogFormat = setting(
        LogFormat.AUTO,
        "Form of log lines: `auto`, `json` or `console`. `auto` is `console` on a terminal and `json` elsewhere.",
        "name",
    )
    log_level: str = setting(
        "INFO", "Least severe level that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`.", "name",
        pattern=r"^(DEBUG|INFO|WARNING|ERROR)$",
    )  # fmt: skip

    @field_validator("database_url")
    @classmethod
    def _postgres_url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                conninfo_to_dict(value)
            except ProgrammingError:  # libpq's own text may repeat the password
                raise ValueError(f"not a valid Postgres URL; an example is {DATABASE_URL_EXAMPLE}") from None
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                RedisUrl.parse(value)
            except ValueError as error:
                raise ValueError(f"not a valid Redis URL: {error}; an example is {REDIS_URL_EXAMPLE}") from None
        return value

    @field_validator("url")
    @classmethod
    def _service_url(cls, value: str | None) -> str | None:
        return None if value is None else service_url(value)

    @field_validator("key_prefix")
    @classmethod
    def _key_prefix(cls, value: str) -> str:
        # kombu cuts the prefix off by its number of letters, from keys that are bytes, and subscribes to patterns.
        if not re.fullmatch(r"[!-~]*", value) or set(value) & set("*?[]{}\\"):
            raise ValueError(r"must be printable ASCII without spaces and without any of * ? [ ] { } \ ")
        return value

    @field_validator("image_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: Any) -> Any:
        return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("image_roots")
    @classmethod
    def _absolute_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        try:
            roots = tuple(root.expanduser().resolve() for root in value)
        except (OSError, RuntimeError) as error:  # an unknown user after ~, a loop of links
            raise ValueError(f"cannot be resolved: {error}") from None
        if Path("/") in roots:
            raise ValueError("'/' would allow every file of the machine; name the folders that hold images")
        require_images(roots)
        return roots

    @field_validator("url_hosts", "url_ports", mode="before")
    @classmethod
    def _split_list(cls, value: Any) -> Any:
        return _items(value)

    @field_validator("buckets", mode="before")
    @classmethod
    def _bucket_rules(cls, value: Any) -> Any:
        return tuple(BucketRule.parse(part) if isinstance(part, str) else part for part in _items(value))

    @field_validator("url_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(f"*.{parse_host(host[2:])}" if host.startswith("*.") else parse_host(host) for host in value)
        except PermanentError as error:
            raise ValueError(f"a host is not valid: {error.message}; list names such as images.example.com") from None

    @field_validator("url_ports")
    @classmethod
    def _port_numbers(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= port <= 65535 for port in value):
            raise ValueError("ports lie between 1 and 65535")
        return value

    @field_validator("url_networks", mode="before")
    @classmethod
    def _private_networks(cls, value: Any) -> Any:
        return tuple(parse_network(str(part)) for part in _items(value))

    @field_validator("storage")
    @classmethod
    def _storage_place(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            return str(BucketRule.parse(value))
        if value is not None and not Path(value).is_absolute():
            raise ValueError("must be an absolute path, or of the form s3://bucket/prefix/")
        return value

    @model_validator(mode="after")
    def _reading_fits(self) -> Self:
        if (self.buckets or self.url_hosts) and not self.fetch_timeout < self.hard_deadline:
            raise ValueError(
                "SUSY_FETCH_TIMEOUT must be below SUSY_HARD_DEADLINE, or a slow server ends the worker's process"
            )
        if self.url_networks and not set(self.url_hosts) - {PUBLIC}:
            raise ValueError(
                "SUSY_URL_NETWORKS needs hosts that SUSY_URL_HOSTS lists by name; other hosts never lead there"
            )
        return self

    @model_validator(mode="after")
    def _timings_fit(self) -> Self:
        if not self.heartbeat_interval * 2 <= self.lease_duration:
            raise ValueError(
                "SUSY_HEARTBEAT_INTERVAL must be at most half of SUSY_LEASE_DURATION, or one late heartbeat loses the "
                "lease"
            )
        if not self.hard_deadline < self.visibility_timeout:
            raise ValueError(
                "SUSY_HARD_DEADLINE must be below SUSY_VISIBILITY_TIMEOUT, or Redis hands running checks out again"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What `susy up`, running in this folder, says of its servers; the environment overrides it."""
        return init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls, SERVICES_FILE)

    @cached_property
    def grid(self) -> Tiling:
        """The tiling that scans are made with."""
        return Tiling(self.tiling, self.stride)

    @cached_property
    def memory_budget(self) -> int:
        """`memory` in bytes, or its default for this machine."""
        return default_budget() if self.memory is None else self.memory

    def require_database_url(self) -> str:
        """The Postgres URL. Raises `ConfigurationError` that says how to set it."""
        return _required(self.database_url, "SUSY_DATABASE_URL", DATABASE_URL_EXAMPLE)

    def require_redis_url(self) -> str:
        """The Redis URL. Raises `ConfigurationError` that says how to set it."""
        return _required(self.redis_url, "SUSY_REDIS_URL", REDIS_URL_EXAMPLE)

    def require_redis(self) -> RedisUrl:
        """Where Redis is, for every client. Raises as `require_redis_url` does."""
        return RedisUrl.parse(self.require_redis_url())

    def require_image_roots(self) -> tuple[Path, ...]:
        """The image roots. Raises `ConfigurationError` that says how to set them."""
        if not self.image_roots:
            raise ConfigurationError(
                ErrorCode.SETTINGS, "SUSY_IMAGE_ROOTS is not set; set it to the folders that hold images"
            )
        return self.image_roots

    def require_sources(self) -> None:
        """Raise `ConfigurationError` unless images can be read from somewhere."""
        if not (self.buckets or self.url_hosts):
            self.require_image_roots()

    def environment(self) -> dict[str, str]:
        """The variables that give another process these settings."""
        values = {name: value for name, value in self if value is not None}
        values["image_roots"] = os.pathsep.join(map(str, self.image_roots))
        lists = {name: ",".join(map(str, value)) for name, value in values.items() if isinstance(value, tuple)}
        return {variable(name): str(value) for name, value in (values | lists).items()}


def load_settings(**overrides: Any) -> Settings:
    """Read and check the settings. Raises `ConfigurationError` with the variable's name and the remedy."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = describe_invalid(error, name=variable)
        raise ConfigurationError(ErrorCode.SETTINGS, problems) from None
    except SettingsError as error:  # an old and a new name that contradict each other
        raise ConfigurationError(ErrorCode.SETTINGS, str(error.__cause__)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{SERVICES_FILE} cannot be read: {error}; `susy up` writes it, remove it"
        ) from error


def variable(name: str) -> str:
    """The environment variable of the field `name`."""
    return f"{PREFIX}{name.upper()}"


def facts(field: FieldInfo) -> Mapping[str, str]:
    """What `setting` was told of a field: `unit`, `default_text` and `old_name`."""
    return field.json_schema_extra  # type: ignore[return-value]


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none, in order."""
    known = {variable(name) for field_name, field in Settings.model_fields.items()
             for name in (field_name, facts(field)["old_name"])}  # fmt: skip
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


class _Environment(EnvSettingsSource):
    """The `SUSY_…` variables, by their names and by those of the version before."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        old = variable(facts(field)["old_name"])
        old_value = self.env_vars.get(old.lower()) if old != PREFIX else None
        if old_value is None:
            return value, key, is_complex
        new = variable(field_name)
        if value is not None and value != old_value:
            raise ValueError(f"{old} is the old name of {new}, and both are set, to different values; unset {old}")
        _warn_of_old_name(old, new)
        return old_value, key, is_complex


@functools.cache  # once per process
def _warn_of_old_name(old: str, new: str) -> None:
    logging.getLogger(__name__).warning("%s is deprecated and will be refused by the next version; use %s", old, new)


def _items(value: Any) -> Any:
    """The parts of a list as a variable holds it; anything else is left to pydantic."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _required(value: str | None, name: str, example: str) -> str:
    if value is None:
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            f"{name} is not set; set it (such as {example}), or start `susy up` in this folder",
        )
    return value
