"""Makes grafana.json, a dashboard of Grafana 10 or newer, from the statements in `queries/`.

    python examples/dashboards/grafana.py > grafana.json

Import it in Grafana (Dashboards, New, Import) and choose a PostgreSQL data source whose user is a member of the role
`susy_dashboard`.
"""

import json
import re
import sys
from pathlib import Path

QUERIES = Path(__file__).with_name("queries")
SOURCE = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
WIDTH, HEIGHT = 12, 8
"""Of a panel, in units of Grafana's grid, which has 24 columns."""


def dashboard():
    """The dashboard as Grafana's JSON model: charts first, then tables, two in a row."""
    queries = sorted(map(read, QUERIES.glob("*.sql")), key=lambda query: (query[1] != "timeseries", query[0]))
    return {
        "title": "susy-worker",
        "uid": "susy-worker",
        "schemaVersion": 39,
        "time": {"from": "now-30d", "to": "now"},
        "timezone": "utc",
        "refresh": "1m",
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": SOURCE["type"]}]
        },
        "panels": [panel(number, *query) for number, query in enumerate(queries)],
    }


def panel(number, title, chart, statement):
    """One panel that shows a statement's rows."""
    target = {
        "refId": "A",
        "datasource": SOURCE,
        "editorMode": "code",
        "rawQuery": True,
        "rawSql": statement,
        "format": "time_series" if chart == "timeseries" else "table",
    }
    return {
        "id": number + 1,
        "title": title,
        "type": chart,
        "datasource": SOURCE,
        "gridPos": {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "targets": [target],
    }


def read(path):
    """Title, kind of chart and statement of a file; what a comment names takes the place of a fixed range of time."""
    title, chart, statement = path.read_text(encoding="utf-8").split("\n", 2)
    statement = re.sub(r"(WHERE|AND) .*  -- Grafana: (.*)", r"\1 \2", statement.strip())
    return title.removeprefix("-- "), chart.removeprefix("-- chart: "), statement


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=2, ensure_ascii=False)
    print()
