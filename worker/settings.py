"""Every setting, read from `SUSY_…` variables once, checked, frozen."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from schema.scan import MAX_STRIDE, MIN_STRIDE, TILE, SelectionGrid, Tiling
from worker.errors import ConfigurationError, ErrorCode
from worker.redis_url import EXAMPLE as REDIS_URL_EXAMPLE
from worker.redis_url import RedisUrl

STATE_DIRECTORY = Path(".susy")
"""Where `susy up` keeps its data and leaves the addresses of its servers."""
SERVICES_FILE = STATE_DIRECTORY / "services.toml"

DATABASE_URL_EXAMPLE = "postgresql://user:password@host:5432/database"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """Readable on a terminal, JSON elsewhere."""
    JSON = "json"
    CONSOLE = "console"


class Settings(BaseSettings):
    """All settings of one process. Times are seconds, sizes bytes unless their name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="SUSY_", env_ignore_empty=True, frozen=True, extra="ignore")

    # Services
    database_url: str | None = None
    """Postgres, as a libpq URL."""
    redis_url: str | None = None
    """Redis or Valkey, `redis://…`, `rediss://…` or `unix://…`."""
    key_prefix: str = "susy:"
    """Put before every Redis key, so that several deployments can share a server."""

    # Detector
    weights: str | None = None
    """`demo`, or the path of a weights file; without it, the file that `susy weights pull` left."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    tiling: SelectionGrid = SelectionGrid.COVERAGE
    stride: Annotated[int, Field(ge=MIN_STRIDE, le=MAX_STRIDE)] = TILE
    batch: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Most tiles in one forward pass; by default 16 on a CPU (cache-sized), 128 on CUDA."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of one forward pass; by default all the process may use."""

    # Intake
    roots: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders under which images may be read, separated by `:`. Nothing outside them is opened."""
    max_bytes: Annotated[int, Field(ge=1)] = 50_000_000
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000

    # Decisions
    policy: Path | None = None
    """The default policy's TOML file; the built-in cautious one when absent."""
    policies: Path | None = None
    """A folder of further policies that a submission may name."""

    # Queue
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Images in flight in one worker process."""
    lease: Annotated[float, Field(gt=0)] = 90.0
    heartbeat: Annotated[float, Field(gt=0)] = 15.0
    hard_deadline: Annotated[float, Field(gt=0)] = 240.0
    """Longest an attempt may take; past it the lease is no longer renewed and the process exits."""
    visibility_timeout: Annotated[float, Field(gt=0)] = 300.0
    """When Redis hands an unacknowledged message to another worker."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    grace: Annotated[float, Field(ge=0)] = 30.0
    """How long a worker that is told to stop may finish what it runs; then it gives the rest back."""
    alive_file: Path | None = None
    """Touched at every heartbeat while the worker is not stuck, for an orchestrator's liveness probe."""
    reconcile_every: Annotated[float, Field(gt=0)] = 5.0

    # Logs
    log_format: LogFormat = LogFormat.AUTO
    log_level: Annotated[str, Field(pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    @field_validator("roots", mode="before")
    @classmethod
    def _split_roots(cls, value: Any) -> Any:
        return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("roots")
    @classmethod
    def _absolute_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        roots = tuple(root.expanduser().resolve() for root in value)
        if Path("/") in roots:
            raise ValueError("'/' would allow every file of the machine; name the folders that hold images")
        return roots

    @field_validator("database_url")
    @classmethod
    def _postgres_url(cls, value: str | None) -> str | None:
        if value is not None:
            _parsed_by(conninfo_to_dict, value, DATABASE_URL_EXAMPLE)
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                RedisUrl.parse(value)
            except ValueError as error:
                raise ValueError(f"is not a valid Redis URL: {error}; an example is {REDIS_URL_EXAMPLE}") from None
        return value

    @model_validator(mode="after")
    def _timings_fit(self) -> Self:
        if not self.heartbeat * 2 <= self.lease:
            raise ValueError("SUSY_HEARTBEAT must be at most half of SUSY_LEASE, or one late beat loses the lease")
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
        return init_settings, env_settings, _RunningServices(settings_cls)

    @cached_property
    def grid(self) -> Tiling:
        """The tiling that scans are made with."""
        return Tiling(self.tiling, self.stride)

    def require_database_url(self) -> str:
        """The Postgres URL, or a `SetupError` that says how to set it."""
        return _needed(self.database_url, "SUSY_DATABASE_URL", DATABASE_URL_EXAMPLE)

    def require_redis_url(self) -> str:
        """The Redis URL, or a `SetupError` that says how to set it."""
        return _needed(self.redis_url, "SUSY_REDIS_URL", REDIS_URL_EXAMPLE)

    def require_redis(self) -> RedisUrl:
        """Where Redis is, for every client; raises as `require_redis_url` does."""
        return RedisUrl.parse(self.require_redis_url())


def load_settings(**overrides: Any) -> Settings:
    """Read and check the settings. Raises `SetupError` with the variable's name and the remedy."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigurationError(ErrorCode.SETTINGS, "; ".join(map(_one_line, error.errors()))) from None


class _RunningServices(PydanticBaseSettingsSource):
    """What `susy up`, running in this folder, says of its servers; the environment overrides it."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        if not SERVICES_FILE.is_file():
            return {}
        return tomllib.loads(SERVICES_FILE.read_text())


def _parsed_by(parse: Callable[[str], object], value: str, example: str) -> None:
    try:
        parse(value)
    except Exception:  # noqa: BLE001 (a parser's own text may repeat the password)
        raise ValueError(f"is no valid URL; expected something like {example}") from None


def _needed(value: str | None, variable: str, example: str) -> str:
    if value is None:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{variable} is not set; set it (like {example}), or start `susy up` in this folder"
        )
    return value


def _one_line(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"SUSY_{str(error['loc'][0]).upper()} {message}" if error["loc"] else message
