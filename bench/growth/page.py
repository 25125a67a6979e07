"""The plots under docs/, and the tables of docs/performance.md between two marks."""

from __future__ import annotations

import statistics
import textwrap
from pathlib import Path

from bench.growth.series import BOUND, Part, Series

PAGE = Path(__file__).parents[2] / "docs/performance.md"
BEGIN, END = "<!-- bench.growth: begin -->", "<!-- bench.growth: end -->"
TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, BOUND, 2, 3, 5, 7, 10, 20, 30, 50, 100, 200, 500)
"""Of the growth."""


def picture_of(part: Part) -> str:
    """The name of the part's plot, beside the page."""
    return f"growth-{part.name.replace('_', '-')}.svg"


def put(page: str, parts: dict[str, Part]) -> str:
    """`page` with all parts between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{PAGE.name} lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{''.join(section(part) for part in parts.values())}{END}{after}"


def section(part: Part) -> str:
    """Heading, plot, table, and which series exceed the bound."""
    sizes = sorted({size for series in part.series for size in series.points})
    rounds = max(len(values) for series in part.series for values in series.points.values())
    lines = [
        f"### {part.title}",
        "",
        f"`python -m bench.growth {part.name}`, {rounds} alternating rounds; {part.machine['cpu']}, "
        f"{part.machine['cores']} cores,",
        f"load {part.machine['load_before']} before the run; {part.machine['measured_at'][:10]}.",
        "",
        *_wrapped(part.note),
        "",
        f"![{part.title}]({picture_of(part)})",
        "",
        f"| {part.x_label} | {' | '.join(_number(size) for size in sizes)} |",
        f"|---|{'--:|' * len(sizes)}",
    ]
    for series in part.series:
        cells = [_cell(series, size) for size in sizes]
        lines.append(f"| {series.name} | {' | '.join(cells)} |")
    bounded = [series for series in part.series if series.is_bounded]
    beyond = [sentence for series in bounded for sentence in series.beyond_bound()]
    growth = "In parentheses the growth since the smallest size, the median of the rounds."
    if beyond:
        lines += ["", f"{growth} Beyond {BOUND}:", "", *(f"- {sentence}" for sentence in beyond)]
    elif bounded:
        lines += ["", *_wrapped(f"{growth} Within {BOUND}: {', '.join(series.name for series in bounded)}.")]
    else:
        lines += ["", growth]
    return "\n".join(lines) + "\n\n"


def _cell(series: Series, size: float) -> str:
    if size not in series.points:
        return "–"
    median = statistics.median(series.points[size])
    value = f"{median:,.0f}" if median >= 1000 else f"{median:.3g}"
    return value if size == min(series.points) else f"{value} ({statistics.median(series.growth(size)):.2f})"


def _number(value: float) -> str:
    return f"{value:,.10g}"


def _wrapped(text: str, width: int = 120) -> list[str]:
    return textwrap.wrap(text, width)


def plot(part: Part, path: Path) -> None:
    """Left, medians with the range of their rounds; right, the growth since the smallest size, and the bound."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    shown = [series for series in part.series if not series.name.endswith(", elapsed")]
    with rc_context({"svg.hashsalt": part.name, "svg.fonttype": "none"}):  # the same figures give the same file
        figure = Figure(figsize=(10, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for series in shown:
            sizes = sorted(series.points)
            _line(left, sizes, [series.points[size] for size in sizes], series.name)
            name = f"{series.name}, per {part.x_label.rstrip('s')}" if series.is_proportional else series.name
            _line(right, sizes, [series.growth(size) for size in sizes], name)
        right.axhline(BOUND, color="black", linestyle="--", linewidth=1, label=f"{BOUND:g} times")
        left.set(xlabel=part.x_label, ylabel=part.y_label, xscale="log", yscale="log")
        right.set(xlabel=part.x_label, ylabel="growth since the smallest size", xscale="log", yscale="log")
        low, high = right.get_ylim()
        low = min(low, 0.7)
        right.set_ylim(low, max(high, 1.5))
        sizes = sorted({size for series in shown for size in series.points})
        for axes in (left, right):
            axes.grid(which="both", alpha=0.2)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
            axes.set_xticks(sizes, [f"{size:,.3g}" if size < 1000 else f"{size:,.0f}" for size in sizes])
            axes.minorticks_off()
        left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        right.set_yticks([tick for tick in TICKS if low <= tick <= right.get_ylim()[1]])
        right.legend(fontsize="small")
        figure.suptitle(part.title)
        figure.savefig(path, metadata={"Date": None})


def _line(axes, sizes: list[float], rounds: list[list[float]], name: str) -> None:  # type: ignore[no-untyped-def]
    middle = [statistics.median(values) for values in rounds]
    below = [median - min(values) for median, values in zip(middle, rounds, strict=True)]
    above = [max(values) - median for median, values in zip(middle, rounds, strict=True)]
    axes.errorbar(sizes, middle, yerr=[below, above], marker="o", markersize=4, capsize=3, linewidth=1.2, label=name)
