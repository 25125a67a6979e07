"""`susy train`: train weights on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import out
from worker.extras import needs
from worker.settings import load_settings


@needs("worker")
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe file (TOML); docs/training.md lists its keys.")],
) -> None:
    """Train SuSy by a recipe and write one weights file; an interrupted run resumes."""
    from worker.lab.training.recipe import read_recipe

    checked = read_recipe(recipe)  # before PyTorch is loaded, which takes longer

    from worker.lab.training.loop import fit

    settings = load_settings()
    out.print(str(fit(checked, max_pixels=settings.max_pixels, memory=settings.memory_budget)))
