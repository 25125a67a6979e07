"""How costs grow: with an image's size, with images in flight, with the queue's length, with the ledger's rows.

    python -m bench.growth [size] [in_flight] [queue] [rows] [--rounds N] [--sizes 1e4,1e6] [--folder FOLDER]

Measures the named parts, adds them to bench/results/growth.json, and redraws the plots and tables of
docs/performance.md from that file; without a part it only redraws. Exits with 1 when claiming, recording or `backlog
status` grow beyond 1.3 times their cost at the smallest size. `--folder` keeps the servers' data there, so that a later
run need not fill the databases again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.growth import page, series
from bench.growth.images import size
from bench.growth.in_flight import in_flight
from bench.growth.ledgers import queue, rows
from bench.servers import servers

RESULTS = Path(__file__).parents[1] / "results/growth.json"
PARTS: dict[str, Callable[..., series.Part]] = {"size": size, "in_flight": in_flight, "queue": queue, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; none: redraw what was measured")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--sizes", help="Of the part, separated by commas: 640x480,4000x3000 for `size`, else numbers.")
    parser.add_argument("--folder", type=Path, help="Keep the servers' data in this folder.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=page.PAGE.parent, help="Where performance.md and the plots are.")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if options.parts:
        with servers(options.folder) as running:
            for name in options.parts:
                found = PARTS[name](running, **_arguments(name, options))
                series.write(options.out, series.read(options.out) | {name: found})
    measured = series.read(options.out)
    parts = {name: measured[name] for name in PARTS if name in measured}
    for part in parts.values():
        page.plot(part, options.docs / page.picture_of(part))
    text = options.docs / page.PAGE.name
    text.write_text(page.put(text.read_text(), parts))
    beyond = [sentence for name in options.parts for sentence in parts[name].beyond_bound()]
    if beyond:
        sys.exit("\n".join(beyond))


def _arguments(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What was given, in the words of the part's function."""
    given: dict[str, Any] = {"rounds": options.rounds} if options.rounds else {}
    if options.sizes:
        sizes = options.sizes.split(",")
        is_size = name == "size"
        given["sizes"] = [tuple(map(int, one.split("x"))) if is_size else int(float(one)) for one in sizes]
    return given


if __name__ == "__main__":
    main()
