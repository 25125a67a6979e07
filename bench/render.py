"""Put the figures of `make bench` into docs/performance.md, beside those of other classes of processors.

    python -m bench.render [bench/results/latest.json bench/results/avx2.json]

The sections of the files' CPU classes are replaced, or added; other classes keep theirs.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from bench.figures import Figure, read, table

LATEST = Path(__file__).parent / "results/latest.json"
AVX2 = LATEST.with_name("avx2.json")
"""Of a newer processor that was limited to AVX2."""
PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"


def section(machine: dict[str, Any], figures: list[Figure]) -> str:
    """The class's heading, the machine in two lines, the table, and why figures are refused."""
    reached = sum(figure.ok is True for figure in figures)
    judged = sum(figure.ok is not None for figure in figures)
    times = sorted(figure.measured_at for figure in figures if figure.measured_at) or [machine["measured_at"]]
    when = times[0][:10] if times[0][:10] == times[-1][:10] else f"{times[0][:10]} to {times[-1][:10]}"
    return (
        f"### {machine['cpu_class']}\n\n"
        f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['flags'])}); Python {machine['python']}, "
        f"torch {machine['torch']},\nNumPy {machine['numpy']}, Pillow {machine['pillow']}; {when}. "
        f"{reached} of {judged} targets are reached.\n\n"
        f"{table(figures)}\n"
    )


def put(page: str, machine: dict[str, Any], figures: list[Figure]) -> str:
    """`page` with the section of this class of processors."""
    before, _, rest = page.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{PAGE.name} lacks the lines {BEGIN} and {END}")
    sections = {part.splitlines()[0]: part for part in re.split(r"^### ", between, flags=re.MULTILINE)[1:]}
    sections[machine["cpu_class"]] = section(machine, figures).removeprefix("### ")
    shown = "\n".join(f"### {text.strip()}\n" for _, text in sorted(sections.items()))
    return f"{before}{BEGIN}\n\n{shown}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="*", default=[LATEST, AVX2])
    for results in parser.parse_args().results:
        PAGE.write_text(put(PAGE.read_text(), *read(results)))


if __name__ == "__main__":
    main()
