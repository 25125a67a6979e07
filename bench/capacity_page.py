"""Put the tables of `susy capacity` for 10⁶, 10⁸ and 10⁹ uploads per day into docs/capacity.md.

python -m bench.capacity_page [bench/results/latest.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.figures import Figure, read
from bench.groups.ledgers import LEDGER_RATE
from bench.render import LATEST
from worker.capacity import Demand, Measured, plan
from worker.cli.services.capacity import lines
from worker.errors import ConfigurationError

PAGE = Path(__file__).parents[1] / "docs/capacity.md"
BEGIN, END = "<!-- susy capacity: begin -->", "<!-- susy capacity: end -->"
UPLOADS = (1e6, 1e8, 1e9)
MEGAPIXELS, REUPLOADS = 2.0, 0.3


def tables(measured: Measured, figures: list[Figure], cores: int) -> str:
    """One column per number of uploads, below what was measured on so many cores."""
    plans = [dict(lines(plan(measured, Demand(uploads, MEGAPIXELS, REUPLOADS)))) for uploads in UPLOADS]
    rates = [figure.value for figure in figures if figure.name == LEDGER_RATE and not figure.refused]
    rows = [f"| {what} | {' | '.join(found[what] for found in plans)} |" for what in plans[0]]
    costs = (
        f"Computed from {measured.tiles_per_core:.1f} tiles per second of one core, {measured.decode_ms:.1f} ms per "
        f"megapixel,\n{measured.worker_ms:.1f} ms of a worker and {measured.postgres_ms:.1f} ms of Postgres per check, "
        f"{measured.ledger_bytes / 1e3:.1f} kB of ledger and {measured.wal_bytes / 1e3:.1f} kB of log."
    )
    if rates:
        costs += (
            f"\nWith {cores} cores for Postgres and the 4 threads that ask it, {rates[0]:,.0f} checks per second were "
            "submitted,\nclaimed and recorded."
        )
    return "\n".join([costs, "", "| uploads per day | 10⁶ | 10⁸ | 10⁹ |", "|---|--:|--:|--:|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=LATEST)
    results = parser.parse_args().results
    try:
        measured = Measured.read(results)
    except ConfigurationError as error:
        raise SystemExit(f"{PAGE.name} stays as it is: {error}") from error
    machine, figures = read(results)
    PAGE.write_text(put(PAGE.read_text(), BEGIN, END, tables(measured, figures, machine["cores"])))


def put(page: str, begin: str, end: str, text: str) -> str:
    """`page` with `text` between two marks."""
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{PAGE.name} lacks the lines {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


if __name__ == "__main__":
    main()
