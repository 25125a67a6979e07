"""The dashboards in `examples/`: every statement runs as the dashboards' role, and both scripts do what they say."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.lab.test_drift import MONDAY, WEEK, count_day, shares
from tests.support.checkout import CHECKOUT
from tests.support.commands import run as run_program
from tests.support.databases import Sql
from tests.support.ledger import VERDICT, claimed, done, examination
from tests.support.scans import scan_of
from worker.localization.heatmap import heatmap
from worker.localization.regions import find_regions
from worker.store import Store

DASHBOARDS = CHECKOUT / "examples/dashboards"
QUERIES = sorted((DASHBOARDS / "queries").glob("*.sql"))


@pytest.fixture
def reader(database_url: str, run: Sql) -> Any:
    """The URL of a user who is a member of `susy_dashboard` and nothing else."""
    name = "reader_" + str(conninfo_to_dict(database_url)["dbname"])
    run(f"CREATE ROLE {name} LOGIN PASSWORD 'secret' IN ROLE susy_dashboard")
    yield make_conninfo(database_url, user=name, password="secret")
    run(f"DROP ROLE {name}")


@pytest.fixture
def ledger(store: Store, run: Sql) -> None:
    """Checks with and without regions, and five weeks of counts in which one source changes."""
    done(store, external_id="first")
    scan = scan_of([0.99, 0.01, 0.02, 0.99], width=448, height=448, content="e" * 64)
    regions = find_regions(heatmap(scan), at=0.9)
    store.record(claimed(store, external_id="second"), examination(scan, replace(VERDICT, regions=regions)))
    random = np.random.default_rng(1)
    usual, changed = shares(random), shares(random, synthetic=0.3)
    for weeks in range(5):
        day = MONDAY - weeks * WEEK + timedelta(days=3)
        count_day(run, day, random.multinomial(1000, usual if weeks else changed), source="avatars")
        count_day(run, day, random.multinomial(1000, usual), source="chat")


@pytest.mark.usefixtures("ledger")
def test_every_statement_runs_with_the_rights_of_a_dashboard(reader: str) -> None:
    without_rows = set()
    with psycopg.connect(reader) as connection:
        for path in QUERIES:
            title, chart, statement = path.read_text().split("\n", 2)
            assert title.startswith("-- "), path
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            columns = [column.name for column in cursor.description or []]
            rows = cursor.fetchall()
            if chart == "-- chart: timeseries":
                assert columns[:2] == ["time", "metric"], path
                assert len(columns) == 3, path
                assert all(row[0].utcoffset() is not None for row in rows), path
            else:
                assert chart == "-- chart: table", path
            if not rows:
                without_rows.add(path.stem)
    assert without_rows <= {"quarantine", "reviewer_agreement", "shadow", "audit_log", "endpoints"}


@pytest.mark.usefixtures("ledger")
def test_the_dashboard_of_grafana_is_made_from_the_statements_and_runs(reader: str) -> None:
    made = run_program(sys.executable, "examples/dashboards/grafana.py").stdout
    assert made == (DASHBOARDS / "grafana.json").read_text(), "run examples/dashboards/grafana.py > grafana.json"
    document = json.loads(made)
    panels = document["panels"]
    assert len(panels) == len(QUERIES)
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    filtered = 0
    with psycopg.connect(reader) as connection:
        for panel in panels:
            [target] = panel["targets"]
            # As Grafana's data source for PostgreSQL expands it.
            statement, count = re.subn(
                r"\$__timeFilter\((\w+)\)",
                r"\1 BETWEEN '2020-01-01T00:00:00Z' AND '2040-01-01T00:00:00Z'",
                target["rawSql"],
            )
            assert "$" not in statement
            assert "-- Grafana" not in statement
            filtered += count
            cursor = connection.execute(statement)
            assert (target["format"] == "time_series") == ((cursor.description or [])[0].name == "time")
    assert filtered == 2


@pytest.mark.usefixtures("ledger")
def test_the_report_tells_what_has_drifted_and_draws_it(reader: str, tmp_path: Path) -> None:
    made = run_program(
        sys.executable, "examples/dashboards/report.py", reader, "--out", tmp_path / "out", "--days", "60"
    )
    assert made.code == 0, made.stderr
    assert re.search(r"^avatars +5002 ", made.stdout, re.MULTILINE)
    assert re.search(r"^chat +5000 ", made.stdout, re.MULTILINE)
    assert "Comparisons that drifted: 3 of " in made.stdout
    assert "map of second: 2 region(s)" in made.stdout
    for name in ("report.png", "map.png"):
        picture = np.asarray(PIL.Image.open(tmp_path / "out" / name).convert("L"))
        assert picture.std() > 10, "an empty picture"


def test_the_report_of_an_empty_ledger_says_so(reader: str, tmp_path: Path) -> None:
    made = run_program(sys.executable, "examples/dashboards/report.py", reader, "--out", tmp_path / "out")
    assert made.code == 0, made.stderr
    assert "no verdicts in this time" in made.stdout
    assert "no image of the last day has a region" in made.stdout
