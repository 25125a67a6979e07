"""`python -m worker.rebuild --photos DIR… --out DIR`: make the data set of the demo weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from worker.rebuild.build import Plan, build


def main() -> None:
    """Parse the arguments and build."""
    parser = argparse.ArgumentParser(prog="python -m worker.rebuild", description=__doc__)
    parser.add_argument(
        "--photos",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="unpacked packages, or folders that hold them by name, and the site-packages folder",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the data set goes")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    arguments = parser.parse_args()
    print(build(arguments.photos, arguments.out, Plan(seed=arguments.seed)))


if __name__ == "__main__":
    main()
