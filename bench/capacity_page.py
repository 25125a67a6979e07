"""Put the tables of `susy capacity` for 10⁶, 10⁸ and 10⁹ uploads per day into docs/capacity.md.

python -m bench.capacity_page [bench/results/latest.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.render import LATEST
from worker.capacity import Demand, Measured, plan
from worker.cli.services.capacity import lines
from worker.errors import ConfigurationError

PAGE = Path(__file__).parents[1] / "docs/capacity.md"
BEGIN, END = "<!-- susy capacity: begin -->", "<!-- susy capacity: end -->"
UPLOADS = (1e6, 1e8, 1e9)


def tables(measured: Measured) -> str:
    """One column per number of uploads."""
    plans = [dict(lines(plan(measured, Demand(uploads, 2.0, 0.3)))) for uploads in UPLOADS]
    rows = [f"| {what} | {' | '.join(found[what] for found in plans)} |" for what in plans[0]]
    costs = (
        f"Computed from {measured.tiles_per_core:.1f} tiles per second of one core, {measured.decode_ms:.1f} ms per "
        f"megapixel,\n{measured.worker_ms:.1f} ms of a worker and {measured.postgres_ms:.1f} ms of Postgres per check, "
        f"{measured.ledger_bytes / 1e3:.1f} kB of ledger and {measured.wal_bytes / 1e3:.1f} kB of log."
    )
    return "\n".join([costs, "", "| uploads per day | 10⁶ | 10⁸ | 10⁹ |", "|---|--:|--:|--:|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=LATEST)
    try:
        measured = Measured.read(parser.parse_args().results)
    except ConfigurationError as error:
        raise SystemExit(f"{PAGE.name} stays as it is: {error}") from error
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(measured)}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
