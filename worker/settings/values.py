"""The types of values: each is read from a variable's text and checked. `units` has those of durations and sizes."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from worker.errors import PermanentError
from worker.object_location import BucketRule
from worker.safe_http.addresses import Network, parse_network
from worker.safe_http.urls import parse_host
from worker.service_url import service_url
from worker.settings.image_roots import require_images
from worker.settings.redis_url import EXAMPLE as REDIS_URL_EXAMPLE
from worker.settings.redis_url import RedisUrl

DATABASE_URL_EXAMPLE = "postgresql://user:password@host:5432/database"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """Readable on a terminal, JSON elsewhere."""
    JSON = "json"
    CONSOLE = "console"


def _postgres_url(value: str) -> str:
    try:
        conninfo_to_dict(value)
    except ProgrammingError:  # libpq's own text may repeat the password
        raise ValueError(f"not a valid Postgres URL; an example is {DATABASE_URL_EXAMPLE}") from None
    return value


def _redis_url(value: str) -> str:
    try:
        RedisUrl.parse(value)
    except ValueError as error:
        raise ValueError(f"not a valid Redis URL: {error}; an example is {REDIS_URL_EXAMPLE}") from None
    return value


def _key_prefix(value: str) -> str:
    # kombu cuts the prefix off by its number of letters, from keys that are bytes, and subscribes to patterns.
    if not re.fullmatch(r"[!-~]*", value) or set(value) & set("*?[]{}\\"):
        raise ValueError(r"must be printable ASCII without spaces and without any of * ? [ ] { } \ ")
    return value


def _roots(value: Any) -> Any:
    return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value


def _absolute_roots(value: tuple[Path, ...]) -> tuple[Path, ...]:
    try:
        roots = tuple(root.expanduser().resolve() for root in value)
    except (OSError, RuntimeError) as error:  # an unknown user after ~, a loop of links
        raise ValueError(f"cannot be resolved: {error}") from None
    if Path("/") in roots:
        raise ValueError("'/' would allow every file of the machine; name the folders that hold images")
    require_images(roots)
    return roots


def _items(value: Any) -> Any:
    """The parts of a list as a variable has it; anything else is left to pydantic."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _bucket_rules(value: Any) -> Any:
    return tuple(BucketRule.parse(part) if isinstance(part, str) else part for part in _items(value))


def _host_names(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(f"*.{parse_host(host[2:])}" if host.startswith("*.") else parse_host(host) for host in value)
    except PermanentError as error:
        raise ValueError(f"a host is not valid: {error.message}; list names such as images.example.com") from None


def _port_numbers(value: tuple[int, ...]) -> tuple[int, ...]:
    if not all(1 <= port <= 65535 for port in value):
        raise ValueError("ports lie between 1 and 65535")
    return value


def _private_networks(value: Any) -> Any:
    return tuple(parse_network(str(part)) for part in _items(value))


def _storage_place(value: str) -> str:
    if "://" in value:
        return str(BucketRule.parse(value))
    if not Path(value).is_absolute():
        raise ValueError("must be an absolute path, or of the form s3://bucket/prefix/")
    return value


PostgresUrl = Annotated[str, AfterValidator(_postgres_url)]
RedisUrlText = Annotated[str, AfterValidator(_redis_url)]
ServiceUrl = Annotated[str, AfterValidator(service_url)]
KeyPrefix = Annotated[str, AfterValidator(_key_prefix)]
StoragePlace = Annotated[str, AfterValidator(_storage_place)]
ImageRoots = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_roots), AfterValidator(_absolute_roots)]
"""Separated by `:`; the lists below by `,`."""
Buckets = Annotated[tuple[BucketRule, ...], NoDecode, BeforeValidator(_bucket_rules)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_items), AfterValidator(_host_names)]
Ports = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_items), AfterValidator(_port_numbers)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_private_networks)]
