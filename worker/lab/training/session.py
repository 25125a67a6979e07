"""The parts of a running training, as its functions hand them on."""

from __future__ import annotations

from dataclasses import dataclass

from worker.lab.training.data import Data
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.recipe import Recipe
from worker.lab.training.state import Run


@dataclass(frozen=True, eq=False)
class Session:
    """One process's training."""

    recipe: Recipe
    data: Data
    run: Run
    group: ProcessGroup

    @property
    def unfinished(self) -> bool:
        """Whether there is an epoch left to train."""
        recipe, run = self.recipe, self.run
        return run.epochs < recipe.epochs and run.progress.stale < recipe.early_stopping
