"""The list of all settings, in the order of `docs/settings.md`."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from schema.scan import MAX_STRIDE, MAX_TILES, MIN_STRIDE, TILE, SelectionGrid
from worker.machine.cores import usable_cores
from worker.settings.field import PREFIX, setting
from worker.settings.units import Duration, Size
from worker.settings.values import (
    Buckets,
    Hosts,
    ImageRoots,
    KeyPrefix,
    LogFormat,
    Networks,
    Ports,
    PostgresUrl,
    RedisUrlText,
    ServiceUrl,
    StoragePlace,
)


def default_concurrency() -> int:
    """Enough images in flight that decoding keeps the network busy on every core."""
    return min(max(4, 2 * usable_cores()), 32)


def default_serve_workers() -> int:
    """One process for two cores: the rest is for Postgres, Redis and workers."""
    return min(max(1, usable_cores() // 2), 8)


class Fields(BaseSettings):
    """The settings, each with its own limits. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    # Servers
    database_url: PostgresUrl | None = setting(None, "Postgres, as a libpq URL.", "URL", is_essential=True)
    redis_url: RedisUrlText | None = setting(
        None, "Redis or Valkey: `redis://`, `rediss://` (TLS) or `unix://` (a socket).", "URL", is_essential=True
    )
    key_prefix: KeyPrefix = setting(
        "susy:", "Put before every Redis key, so that several deployments can share a server.", "text", max_length=100
    )

    # The HTTP service, for clients of it
    url: ServiceUrl | None = setting(
        None,
        "Address of a `susy serve`. With it, the Python client and `susy submit` use HTTP and need neither Postgres "
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
    image_roots: ImageRoots = setting(
        (),
        "Folders under which images may be read, separated by `:`. No file outside them is opened.",
        "folders",
        old_name="roots",
        is_essential=True,
    )
    buckets: Buckets = setting(
        (),
        "Buckets that images may be read from, separated by `,`: `s3://bucket`, or `s3://bucket/prefix/` for a part of "
        "it; `gs://` and `az://` likewise. No other object is read. Endpoints and credentials come from the variables "
        "of the stores' own tools.",
        "buckets",
        is_essential=True,
    )
    url_hosts: Hosts = setting(
        (),
        "Hosts that images may be read from by URL, separated by `,`: a name, `*.example.com` for all names below it, "
        "or `public` for every host that has only public addresses. Without any, no URL is read.",
        "hosts",
        is_essential=True,
    )
    url_http: bool = setting(
        False, "Whether images may be read by `http://` URLs beside `https://`.", "`true` or `false`"
    )
    url_ports: Ports = setting(
        (80, 443),
        "Ports of the hosts that images may be read from, separated by `,`.",
        "ports",
        default_text="`80,443`",
    )
    url_networks: Networks = setting(
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
    storage: StoragePlace | None = setting(
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
        "Address that `susy serve` listens on. `0.0.0.0` or `::` are all addresses of the machine; put a proxy with "
        "TLS in front.",
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
