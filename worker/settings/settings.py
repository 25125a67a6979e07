"""The settings of one process: the fields, how they must agree, and what follows from them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsError,
    TomlConfigSettingsSource,
)

from schema.scan import Tiling
from worker.errors import ConfigurationError, ErrorCode
from worker.machine.memory import default_budget
from worker.settings.field import PREFIX, facts, variable
from worker.settings.fields import Fields
from worker.settings.redis_url import EXAMPLE as REDIS_URL_EXAMPLE
from worker.settings.redis_url import RedisUrl
from worker.settings.sources import SERVICES_FILE, Environment
from worker.settings.values import DATABASE_URL_EXAMPLE
from worker.validation import describe_invalid

PUBLIC = "public"
"""The word in `SUSY_URL_HOSTS` for every host that has only public addresses."""


class Settings(Fields):
    """All settings of one process."""

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
        return init_settings, Environment(settings_cls), TomlConfigSettingsSource(settings_cls, SERVICES_FILE)

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


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none, in order."""
    known = {variable(name) for field_name, field in Settings.model_fields.items()
             for name in (field_name, facts(field)["old_name"])}  # fmt: skip
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


def _required(value: str | None, name: str, example: str) -> str:
    if value is None:
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            f"{name} is not set; set it (such as {example}), or start `susy up` in this folder",
        )
    return value
