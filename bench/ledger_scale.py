"""The dashboards' queries on a large ledger: their plans and their times, and how much room a million rows take.

    python -m bench.ledger_scale [--rows 5000000] [--days 90] [--rounds 7] [--database-url URL] [--filled]

Fills an embedded Postgres, or an empty database at `--database-url`, with checks, scans, verdicts and reviews, then
runs each query of docs/database.md. Exits with 1 when one takes longer than it may, or reads a large table from end to
end. It measures the first rows, and refuses when the rest would not fit on the disk.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg

from bench.servers import servers
from worker.store.migrate import upgrade

PAGE = Path(__file__).parents[1] / "docs/database.md"
SCRIPT = Path(__file__).with_suffix(".sql")
STEP = 50_000
"""Checks per transaction."""
LARGE = 100_000
"""Rows from which a sequential scan counts as one of a large table."""
MOST, MOST_OF_A_DAY = 0.050, 0.500
"""Seconds that a query may take, and one that adds up or ranks whatever happened in an hour, a day or more."""
ADDS_UP = re.compile(r"GROUP BY|percentile_cont|count\(|dashboard\.(drift|arrivals)|ORDER BY region_area")
GIVE_UP = 10
"""Seconds after which a query is not tried again, and is cancelled."""
AN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
"""The check that the page's queries name."""
TABLES = ("checks", "scans", "verdicts", "reviews")


@dataclass(frozen=True)
class Finding:
    """One documented query on the filled ledger."""

    query: str
    seconds: list[float]
    rows: int
    scanned: tuple[str, ...]
    """Large tables that its plan reads from end to end."""

    @property
    def limit(self) -> float:
        """Seconds that it may take."""
        return MOST_OF_A_DAY if ADDS_UP.search(self.query) else MOST

    @property
    def is_fine(self) -> bool:
        return statistics.median(self.seconds) <= self.limit and not self.scanned


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--days", type=float, default=90)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--database-url", help="An empty database, which is kept, in place of an embedded one.")
    parser.add_argument("--filled", action="store_true", help="It was filled by an earlier run; only measure.")
    options = parser.parse_args()
    with _database(options.database_url) as url, psycopg.connect(url, autocommit=True) as connection:
        if not options.filled:
            fill(connection, options.rows, options.days, show=True)
        print(f"\n{sizes(connection)}\n", flush=True)
        findings = measure(connection, options.rounds)
        print(report(findings), flush=True)
        sys.exit(0 if all(finding.is_fine for finding in findings) else 1)


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    if url is not None:
        upgrade(url)
        yield url
        return
    with servers() as running:
        yield running.new_database("scale")


def fill(
    connection: psycopg.Connection,
    rows: int,
    days: float,
    *,
    first: int = 1,
    show: bool = False,
    waiting: int | None = None,
) -> None:
    """So many checks that ended, `waiting` more that wait (a hundredth), statistics, and a visibility map.

    Their contents are numbered from `first`: those of another call must not be the same.
    """
    statements = _statements()
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET synchronous_commit = off")
    for name, version in (("default", "0123456789ab"), ("strict", "ba9876543210")):
        connection.execute(
            "INSERT INTO susy.policies (name, version, document) VALUES (%s, %s, '{}') ON CONFLICT DO NOTHING",
            [name, version],
        )
    started = time.monotonic()
    last = first + rows - 1
    for begin in range(first, last + 1, STEP):
        values = {"first": begin, "last": min(begin + STEP - 1, last), "rows": last, "count": rows, "days": days}
        connection.execute(statements["BATCH"], values)
        if begin == first and show:
            _require_space(connection, rows)
        if show and (begin // STEP) % 10 == 0:
            print(f"{values['last']:,} checks after {time.monotonic() - started:.0f} s", flush=True)
    connection.execute(statements["WAITING"], {"waiting": max(rows // 100, 10) if waiting is None else waiting})
    connection.execute(statements["SHADOW"], {})
    connection.execute(statements["COUNTS"], {})
    connection.execute(statements["QUEUE"], {})
    connection.execute("SET session_replication_role = origin")
    connection.execute("VACUUM ANALYZE")


def _require_space(connection: psycopg.Connection, rows: int) -> None:
    """Exit when the rest would not fit beside a quarter in reserve."""
    row = connection.execute(
        "SELECT pg_database_size(current_database()), current_setting('data_directory')"
    ).fetchone()
    assert row is not None
    needed, free = row[0] / min(STEP, rows) * rows * 1.25, shutil.disk_usage(row[1]).free
    print(f"{row[0] / min(STEP, rows):,.0f} bytes per check; {needed / 1e9:.1f} of {free / 1e9:.1f} GB", flush=True)
    if needed > free:
        sys.exit(f"{rows:,} rows would need {needed / 1e9:.1f} GB; choose fewer, or another disk")


def _statements() -> dict[str, LiteralString]:
    pieces = re.split(r"^-- ([A-Z]+): ", SCRIPT.read_text(), flags=re.MULTILINE)[1:]
    # A comment's percent signs would be parameters.
    return {
        name: cast("LiteralString", "\n".join(line for line in text.splitlines()[1:] if not line.startswith("--")))
        for name, text in zip(pieces[::2], pieces[1::2], strict=True)
    }


def sizes(connection: psycopg.Connection) -> str:
    """Room per million rows, as a table in Markdown."""
    lines = ["| table | rows | GB per million rows, with its indexes | of that indexes |", "|---|---|---|---|"]
    for table in TABLES:
        row = connection.execute(
            f"SELECT count(*), pg_total_relation_size('susy.{table}'), pg_indexes_size('susy.{table}')"
            f" FROM susy.{table}"  # type: ignore[arg-type]
        ).fetchone()
        assert row is not None
        rows = max(row[0], 1)
        lines.append(f"| `{table}` | {row[0]:,} | {row[1] / rows / 1000:.2f} | {row[2] / rows / 1000:.2f} |")
    return "\n".join(lines)


def queries() -> list[str]:
    """The queries of the page, in its order."""
    return re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


def measure(connection: psycopg.Connection, rounds: int) -> list[Finding]:
    """Run each documented query, about a check of the ledger, with the rights and limits of a dashboard."""
    row = connection.execute("SELECT check_id FROM susy.reviews ORDER BY created_at DESC LIMIT 1").fetchone()
    assert row is not None
    large = {
        name
        for (name,) in connection.execute(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'susy'::regnamespace AND relkind = 'r'"
            " AND reltuples >= %s", [LARGE]
        )
    }  # fmt: skip
    # As docs/database.md sets them for a dashboard's login.
    for setting in (f"statement_timeout = '{GIVE_UP}s'", "random_page_cost = 1.1", "jit = off"):
        connection.execute(cast("LiteralString", f"SET {setting}"))
    return [_measure(connection, query.replace(AN_ID, str(row[0])), rounds, large) for query in queries()]


def _measure(connection: psycopg.Connection, query: str, rounds: int, large: set[str]) -> Finding:
    statement = cast("LiteralString", query)
    plan = connection.execute(cast("LiteralString", f"EXPLAIN (FORMAT JSON) {statement}")).fetchall()[0][0]
    scanned = {node["Relation Name"] for node in nodes(plan[0]["Plan"]) if "Seq Scan" in node["Node Type"]}
    seconds: list[float] = []
    rows = 0
    while len(seconds) < rounds and sum(seconds) < GIVE_UP:
        started = time.perf_counter()
        with suppress(psycopg.errors.QueryCanceled):
            rows = len(connection.execute(statement).fetchall())
        seconds.append(time.perf_counter() - started)
    return Finding(query, seconds, rows, tuple(sorted(scanned & large)))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's node and all below it."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def report(findings: list[Finding]) -> str:
    """A table in Markdown, and what is wrong."""
    lines = ["| query | rows | ms: median (range) | may take | read from end to end |", "|---|---|---|---|---|"]
    for one in findings:
        scaled = [second * 1000 for second in one.seconds]
        lines.append(
            f"| `{' '.join(one.query.split())[:90]}` | {one.rows:,} | {statistics.median(scaled):.1f}"
            f" ({min(scaled):.1f}–{max(scaled):.1f}) | {one.limit * 1000:.0f} | {', '.join(one.scanned) or '–'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
