"""`susy capacity`: how many machines a number of uploads takes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from worker.capacity import Demand, Measured, Plan, plan
from worker.cli.output import out, print_json, table


def capacity(
    uploads_per_day: Annotated[float, typer.Option(min=1, help="Images that arrive per day, such as 1e6.")],
    megapixels: Annotated[float, typer.Option(min=0.05, max=500, help="Of an average image.")] = 2.0,
    reuploads: Annotated[float, typer.Option(min=0, max=1, help="Share whose content was measured before.")] = 0.0,
    tiles: Annotated[int, typer.Option(min=1, help="Tiles scored per image.")] = 5,
    peak: Annotated[float, typer.Option(min=1, help="The busiest hour's rate divided by the average.")] = 2.0,
    utilization: Annotated[float, typer.Option(min=0.05, max=1, help="Planned share of each core at the peak.")] = 0.6,
    gpu_tiles: Annotated[
        float | None, typer.Option(min=1, help="Tiles per second of one GPU; default: score on CPUs.")
    ] = None,
    postgres_cores: Annotated[int, typer.Option(min=1, help="Of the largest Postgres server available.")] = 32,
    postgres_share: Annotated[
        float, typer.Option(min=0.01, max=1, help="Planned share of the rate that these cores would allow.")
    ] = 1 / 3,
    core_hour: Annotated[float, typer.Option(min=0, help="Price of a core for an hour.")] = 0.04,
    gpu_hour: Annotated[float, typer.Option(min=0, help="Price of a GPU for an hour.")] = 2.5,
    measured: Annotated[Path, typer.Option(help="Results of `make bench`.")] = Path("bench/results/latest.json"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Print the cores, GPUs, Postgres, Redis and cost that a number of uploads takes, from measured figures."""
    demand = Demand(
        uploads_per_day,
        megapixels,
        reuploads,
        tiles,
        peak,
        utilization,
        gpu_tiles,
        postgres_cores,
        postgres_share,
        core_hour,
        gpu_hour,
    )
    costs = Measured.read(measured)
    found = plan(costs, demand)
    if json:
        print_json({"demand": asdict(demand), "measured": asdict(costs), "plan": asdict(found)})
        return
    rows = table("what", "how much")
    for what, how_much in lines(found):
        rows.add_row(what, how_much)
    out.print(rows)


def lines(found: Plan) -> list[tuple[str, str]]:
    """What the command prints, and docs/capacity.md shows."""
    return [
        ("checks per second, average and peak", f"{found.checks_per_second:,.1f} and {found.peak_per_second:,.1f}"),
        ("worker cores", f"{found.worker_cores:,}"),
        ("GPUs", f"{found.gpus:,}"),
        ("Postgres cores", f"{found.postgres_cores:,.1f}"),
        ("Postgres statements per second", f"{found.postgres_statements:,.0f}"),
        ("ledger per day", _bytes(found.ledger_per_day)),
        ("write-ahead log per day", _bytes(found.wal_per_day)),
        ("Redis commands per second", f"{found.redis_commands:,.0f}"),
        ("Redis traffic per second", _bytes(found.redis_bytes)),
        ("one Postgres is planned with", f"{found.one_postgres:,.0f} checks per second"),
        ("platform cells, each with its own Postgres", f"{found.platform_cells:,}"),
        ("cost per million checks", f"{found.cost_per_million:,.2f}"),
    ]


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
