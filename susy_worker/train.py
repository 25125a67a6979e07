"""Training as `torchrun` starts it: `torchrun --nproc-per-node N -m susy_worker.train RECIPE`.

`susy train RECIPE` does the same in one process.
"""

import sys
from pathlib import Path

from worker.errors import SetupError
from worker.lab.training.loop import fit
from worker.lab.training.recipe import read_recipe
from worker.settings import load_settings


def main() -> int:
    """Train by the recipe named on the command line; returns the exit code."""
    if len(sys.argv) != 2:
        print("usage: torchrun --nproc-per-node N -m susy_worker.train RECIPE", file=sys.stderr)
        return 2
    try:
        fit(read_recipe(Path(sys.argv[1])), max_pixels=load_settings().max_pixels)
    except SetupError as error:
        print(f"susy: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
