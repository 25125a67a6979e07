"""Every figure of the table in docs/performance.md, in one run: `make bench`, or `make bench-quick` in under 5 minutes.

    python -m bench.suite [--quick] [--only GROUP]… [--cores N] [--avx2] [--limit SECONDS] [--out FILE]

Candidates and baselines alternate within each round, and ratios are taken within it. Nothing is timed before the
answers of both are equal. A figure whose rounds differ too much is refused, and the command ends with 1: run its group
again on a machine at rest. Figures of CPU time hold on a busy machine too.

Each group runs on its own and begins no further round after `--limit` seconds. What a run measured replaces those
groups in the file; the others stay, unless they are of another machine or of other versions.

`--cores N` leaves N cores to everything: workers, baselines, and their servers. Its figures stand beside the others.
`--avx2` has both sides use no newer instructions, on a processor that has them, and writes a file of its own. Clock,
caches and JPEG decoder stay what they are.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure, merged, read, table, write
from bench.groups import images, ledgers, workers
from bench.groups.pace import Pace
from bench.machine import ONLY_AVX2, describe, is_limited_to_avx2
from bench.render import AVX2, LATEST
from worker.machine.cores import usable_cores

GROUPS: dict[str, Callable[[Pace], list[Figure]]] = {
    "end_to_end": workers.end_to_end,
    "busy": workers.busy,
    "reuploads": workers.reuploads,
    "forward": images.forward,
    "whole_check": images.whole_check,
    "selection": images.selection,
    "decoding": images.costs_of_decoding,
    "full_map": images.full_map,
    "ledger": ledgers.ledger_cost,
    "database": ledgers.database,
    "memory": workers.memory,
}
"""In the order in which they are measured and shown."""
NOT_QUICK = {"busy", "reuploads", "full_map", "memory"}
"""What `--quick` leaves out, unless it is named."""
LIMIT, LIMIT_QUICK = 300.0, 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"fewer rounds, without {', '.join(sorted(NOT_QUICK))}")
    parser.add_argument("--only", choices=GROUPS, action="append", help="this group; may be repeated")
    parser.add_argument("--cores", type=int, help="let everything run on so many of this machine's cores")
    parser.add_argument("--avx2", action="store_true", help="use no instructions newer than AVX2")
    parser.add_argument("--limit", type=float, help="seconds after which a group begins no further round")
    parser.add_argument("--out", type=Path, help=f"{LATEST.name}, or {AVX2.name} with --avx2, in bench/results")
    options = parser.parse_args()
    if options.avx2 and not is_limited_to_avx2():  # libraries read the environment when they are loaded
        os.execve(sys.executable, [sys.executable, "-m", "bench.suite", *sys.argv[1:]], os.environ | ONLY_AVX2)
    out = options.out or (AVX2 if options.avx2 else LATEST)
    machine, cores = describe(), leave_cores(options.cores)
    limit = options.limit or (LIMIT_QUICK if options.quick else LIMIT)
    measured: list[Figure] = []
    failed: list[str] = []
    for name in options.only or [name for name in GROUPS if not (options.quick and name in NOT_QUICK)]:
        began, load = time.monotonic(), round(os.getloadavg()[0], 2)
        pace = Pace(name, options.quick, limit)
        try:
            with pace.enforced():
                found = GROUPS[name](pace)
        except Exception:  # noqa: BLE001 (half an hour of other figures must not be lost)
            traceback.print_exc()
            failed.append(name)
            continue
        found = [
            replace(
                figure,
                name=f"{figure.name}{cores}",
                group=f"{name}{cores}",
                load=load,
                measured_at=datetime.now(UTC).isoformat(timespec="minutes"),
            )
            for figure in found
        ]
        measured += found
        kept = read(out) if out.exists() else None
        write(out, machine, merged(kept, machine, found, list(GROUPS)))
        pace.say(f"done in {time.monotonic() - began:.0f} s")
    print(table(measured))
    if complaints := complain(measured, failed):
        sys.exit("\n".join(complaints))


def leave_cores(count: int | None) -> str:
    """Bind this process and all that it starts to so many cores; what figures' names end with then."""
    have = sorted(os.sched_getaffinity(0))[: usable_cores()]
    if count is None or count == len(have):
        return ""
    if not 1 <= count < len(have):
        raise SystemExit(f"--cores {count}: this machine has {len(have)}; run the bench on a machine with {count}")
    os.sched_setaffinity(0, have[:count])
    return f", on {count} core{'s' if count > 1 else ''}"


def complain(figures: list[Figure], failed: list[str]) -> list[str]:
    """A line for each figure that is refused, and for each group that failed."""
    lines = [f"{name}: not measured, see above; the file keeps what an earlier run found" for name in failed]
    return lines + [f"{figure.name}: refused, because {figure.refused}" for figure in figures if figure.refused]


if __name__ == "__main__":
    main()
