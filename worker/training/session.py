"""The parts of a running training, as its functions hand them on."""

from __future__ import annotations

from dataclasses import dataclass

from worker.training.data import Data
from worker.training.distributed import Team
from worker.training.recipe import Recipe
from worker.training.state import Run


@dataclass(frozen=True, eq=False)
class Session:
    """One process's training."""

    recipe: Recipe
    data: Data
    run: Run
    team: Team

    @property
    def unfinished(self) -> bool:
        """Whether there is an epoch left to train."""
        recipe, run = self.recipe, self.run
        return run.epochs < recipe.epochs and run.progress.stale < recipe.early_stopping
