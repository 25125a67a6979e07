"""`susy train`: make weights from images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import out


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, like those in worker/training/recipes.")],
) -> None:
    """Train SuSy by a recipe (TOML), and write one weights file; resumes after a kill."""
    from worker.training.fit import fit
    from worker.training.recipe import read_recipe

    out.print(str(fit(read_recipe(recipe))), markup=False)
