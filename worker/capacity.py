"""How many machines a number of uploads takes, from measured figures. Arithmetic only: no I/O but one file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from worker.errors import ConfigurationError, ErrorCode

DAY = 86_400
"""Seconds."""


@dataclass(frozen=True)
class Measured:
    """What one check costs, as `make bench` found it."""

    tiles_per_core: float
    """Tiles per second of the network on one core."""
    decode_ms: float
    """CPU milliseconds of decoding and selecting tiles per megapixel."""
    worker_ms: float
    """CPU milliseconds of a worker for ledger and queue per check."""
    postgres_ms: float
    """CPU milliseconds of Postgres to submit, claim and record a check."""
    ledger_bytes: float
    """Bytes in tables and indexes per check that was measured."""
    wal_bytes: float
    """Bytes of write-ahead log per check."""
    redis_commands: float
    """Commands per check."""
    redis_bytes: float
    """Bytes in and out per check."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """From the results of `make bench`.

        Raises `ConfigurationError` (`settings`) naming what is missing, or was refused because its rounds differed.
        """
        try:
            figures = {figure["name"]: figure for figure in json.loads(path.read_text())["figures"]}
            found = {name: float(figure["value"]) for name, figure in figures.items()}
            refused = {name: figures[name].get("refused") for name in FIGURES.values() if name in figures}
        except OSError as error:
            why = f"{path} cannot be read ({error.strerror}); run `make bench`, or name a file by --measured"
            raise ConfigurationError(ErrorCode.SETTINGS, why) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"{path} does not hold results of `make bench`; run it, or name another file by --measured"
            raise ConfigurationError(ErrorCode.SETTINGS, why) from error
        if missing := [name for name in FIGURES.values() if name not in found]:
            raise ConfigurationError(ErrorCode.SETTINGS, f"{path} lacks {', '.join(missing)}; run `make bench` again")
        if why_not := [f"{name} ({reason})" for name, reason in refused.items() if reason]:
            groups = sorted({figures[name].get("group") or "GROUP" for name, reason in refused.items() if reason})
            again = " ".join(f"--only {group}" for group in groups)
            why = f"{path} holds no value to compute with for {', '.join(why_not)}"
            why += f"; run `make bench BENCH_ARGS='{again}'` on a machine at rest"
            raise ConfigurationError(ErrorCode.SETTINGS, why)
        return cls(**{field.name: found[FIGURES[field.name]] for field in fields(cls)})


FIGURES = {
    "tiles_per_core": "forward, float32, per core",
    "decode_ms": "decoding and selecting, per megapixel",
    "worker_ms": "ledger and queue, CPU per check",
    "postgres_ms": "Postgres, CPU per check",
    "ledger_bytes": "Postgres, size per check",
    "wal_bytes": "Postgres, write-ahead log per check",
    "redis_commands": "Redis, commands per check",
    "redis_bytes": "Redis, traffic per check",
}
"""The names under which `bench/suite.py` writes them."""


@dataclass(frozen=True)
class Demand:
    """What arrives, and how full machines may be."""

    uploads_per_day: float
    megapixels: float = 2.0
    """Of an average image."""
    reuploads: float = 0.0
    """Share of uploads whose content was measured before, 0..1: they cost no decoding and no inference."""
    tiles: int = 5
    """Scored per image."""
    peak: float = 2.0
    """The busiest hour's rate ÷ the day's average."""
    utilization: float = 0.6
    """Share of a core's time that is planned for at the peak, 0..1."""
    gpu_tiles: float | None = None
    """Tiles per second of one GPU, through the engine; None scores on CPUs."""
    postgres_cores: int = 32
    """Of the largest Postgres server available."""
    postgres_share: float = 1 / 3
    """Share that is planned with of the rate that its cores would allow, 0..1: few cores were measured, and locks and
    the disk limit many."""
    core_hour: float = 0.04
    """Price of a core for an hour, in any currency."""
    gpu_hour: float = 2.5
    """Price of a GPU for an hour."""


@dataclass(frozen=True)
class Plan:
    """What a demand takes, at its peak unless it says per day."""

    checks_per_second: float
    peak_per_second: float
    worker_cores: int
    gpus: int
    postgres_cores: float
    postgres_statements: float
    """Per second, at most: a check is submitted, marked as published, claimed, its scan looked for, and recorded."""
    ledger_per_day: float
    """Bytes, of all tables and indexes."""
    wal_per_day: float
    """Bytes."""
    redis_commands: float
    """Per second."""
    redis_bytes: float
    """Per second."""
    platform_cells: int
    """Installations, each with a Postgres, a Redis and workers, so that none exceeds `one_postgres`."""
    one_postgres: float
    """Checks per second that one Postgres is planned with."""
    cost_per_million: float


STATEMENTS = 5


def worker_seconds(measured: Measured, demand: Demand) -> float:
    """CPU seconds of a worker per check, averaged over re-uploads and others."""
    scoring = 0.0 if demand.gpu_tiles else demand.tiles / measured.tiles_per_core
    fresh = scoring + demand.megapixels * measured.decode_ms / 1e3
    return (1 - demand.reuploads) * fresh + measured.worker_ms / 1e3


def plan(measured: Measured, demand: Demand) -> Plan:
    """Cores are provisioned for the peak and paid all day."""
    average = demand.uploads_per_day / DAY
    peak, fresh = average * demand.peak, 1 - demand.reuploads
    cores = math.ceil(peak * worker_seconds(measured, demand) / demand.utilization)
    gpus = math.ceil(peak * fresh * demand.tiles / demand.gpu_tiles / demand.utilization) if demand.gpu_tiles else 0
    full = demand.postgres_cores * demand.utilization / (measured.postgres_ms / 1e3)
    one = full * demand.postgres_share
    postgres = peak * measured.postgres_ms / 1e3 / demand.utilization
    hourly = (cores + postgres) * demand.core_hour + gpus * demand.gpu_hour
    return Plan(
        checks_per_second=average,
        peak_per_second=peak,
        worker_cores=cores,
        gpus=gpus,
        postgres_cores=postgres,
        postgres_statements=peak * STATEMENTS,
        ledger_per_day=demand.uploads_per_day * measured.ledger_bytes,
        wal_per_day=demand.uploads_per_day * measured.wal_bytes,
        redis_commands=peak * measured.redis_commands,
        redis_bytes=peak * measured.redis_bytes,
        platform_cells=math.ceil(peak / one),
        one_postgres=one,
        cost_per_million=hourly * 24 / demand.uploads_per_day * 1e6,
    )
