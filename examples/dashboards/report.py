"""A report of the last weeks from the views of `dashboard`, with pandas: tables on stdout, plots as PNG files.

    pip install pandas matplotlib 'psycopg[binary]'
    python examples/dashboards/report.py postgresql://metabase@db/susy --out report

The user needs to be a member of the role `susy_dashboard`, and nothing else.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws without a screen

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psycopg
from matplotlib.dates import ConciseDateFormatter

COLOURS = {"authentic": "tab:green", "inconclusive": "gold", "synthetic": "tab:red"}


def main():
    """Read, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the database, as libpq takes it")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for the plots")
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with psycopg.connect(options.url, options="-c statement_timeout=30s") as connection:
        days = decisions(connection, options.days)
        generators = frame(
            connection,
            "SELECT day, generator, sum(checks)::float8 AS checks FROM dashboard.generators_by_day"
            " WHERE day > current_date - %s::int GROUP BY day, generator ORDER BY day",
            options.days,
        )
        drift = frame(connection, "SELECT * FROM dashboard.drift ORDER BY week, source, measure")
        plot(days, generators, drift, options.out / "report.png")
        tell(days, drift)
        draw_latest_map(connection, options.out / "map.png")


def frame(connection, query, *parameters):
    """The rows of a query as a data frame."""
    cursor = connection.execute(query, parameters or None)
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])


def decisions(connection, days):
    """Checks by day, source and decision."""
    return frame(
        connection,
        "SELECT day, source, decision, sum(checks)::float8 AS checks, sum(needs_review)::float8 AS needs_review"
        " FROM dashboard.decisions_by_source_day WHERE day > current_date - %s::int"
        " GROUP BY day, source, decision ORDER BY day",
        days,
    )


def tell(days, drift):
    """Print what a person wants to know first."""
    if days.empty:
        print("no verdicts in this time")
        return
    by_source = days.pivot_table(index="source", columns="decision", values="checks", aggfunc="sum", fill_value=0)
    shares = by_source.div(by_source.sum(axis=1), axis=0).round(3)
    shares.insert(0, "checks", by_source.sum(axis=1).astype(int))
    print(shares.sort_values("checks", ascending=False).to_string())
    columns = ["week", "source", "measure", "psi", "adjusted_p_value", "risen", "risen_share", "risen_reference_share"]
    drifted = drift.loc[drift.status == "drifted", columns]
    print(f"\nComparisons that drifted: {len(drifted)} of {drift.p_value.notna().sum()}")
    if len(drifted):
        print(drifted.to_string(index=False))


def plot(days, generators, drift, path):
    """Three charts, one above the other."""
    figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(10, 12), layout="constrained")
    stacked(top, days, "decision", "Decisions by day", COLOURS)
    stacked(middle, generators, "generator", "Generators by day")
    bottom.set_title("Population stability index by week, against the four weeks before")
    tested = drift.dropna(subset=["psi"])
    for (source, measure), rows in tested.groupby(["source", "measure"]):
        by_week = rows.groupby("week").psi.max()
        bottom.plot(by_week.index, by_week.to_numpy(float), marker="o", label=f"{source}: {measure}")
    drifted = tested[tested.status == "drifted"]
    bottom.plot(
        drifted.week, drifted.psi.to_numpy(float), "o", markersize=14, fillstyle="none", color="red", label="drifted"
    )
    bottom.legend(fontsize="small")
    for axes in (top, middle, bottom):
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    figure.savefig(path, dpi=100)
    plt.close(figure)


def stacked(axes, counts, by, title, colours=None):
    """Bars of a day's checks, one colour per decision or generator."""
    axes.set_title(title)
    below = 0
    table = counts.pivot_table(index="day", columns=by, values="checks", aggfunc="sum", fill_value=0)
    for name in table.columns:
        axes.bar(table.index, table[name], bottom=below, label=name, color=(colours or {}).get(name))
        below = below + table[name]
    if len(table.columns):
        axes.legend(fontsize="small")


def draw_latest_map(connection, path):
    """The map of the latest image with a region, drawn from its numbers as a front end would."""
    latest = frame(
        connection,
        "SELECT external_id, width, height, grid, regions FROM dashboard.localization"
        " WHERE created_at > now() - interval '1 day' AND region_count > 0 AND grid IS NOT NULL"
        " ORDER BY created_at DESC LIMIT 1",
    )
    if latest.empty:
        print("\nno image of the last day has a region")
        return
    image = latest.iloc[0]
    grid = image.grid
    scores = np.array(grid["scores"], float)  # null becomes NaN, which is left white
    figure, axes = plt.subplots(layout="constrained")
    colours = axes.pcolormesh(grid["x_edges"], grid["y_edges"], scores, vmin=0, vmax=1, cmap="YlOrRd")
    for region in image.regions:
        for ring in region["polygon"] or []:
            axes.plot(*np.array(ring).T, color="black")
    axes.set(title=image.external_id, xlim=(0, image.width), ylim=(image.height, 0), aspect="equal")
    figure.colorbar(colours, label="probability that it is synthetic")
    figure.savefig(path, dpi=100)
    plt.close(figure)
    print(f"\nmap of {image.external_id}: {len(image.regions)} region(s)")


if __name__ == "__main__":
    main()
