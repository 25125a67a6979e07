"""One training step of a recipe, and the gradients it leaves: `torchrun … -m tests.training.one_step RECIPE`."""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from worker.training.batches import training_batches
from worker.training.data import load_data
from worker.training.distributed import join
from worker.training.order import epoch_order, steps_of
from worker.training.recipe import Recipe, read_recipe
from worker.training.state import new_run
from worker.training.step import train


def gradients_of(recipe: Recipe) -> dict[str, Tensor]:
    """The first step's gradients, by name; `loss` is the step's."""
    torch.set_num_threads(1)
    with join("cpu") as team:
        data = load_data(recipe, team)
        run = new_run(recipe, team)
        steps = steps_of(epoch_order(recipe, data.train, 0), recipe.batch, team.size)[:1]
        batches = training_batches(
            recipe, data.train, steps, epoch=0, class_weights=data.class_weights, rank=team.rank, processes=team.size
        )
        train(recipe, run, team, steps, batches, lambda: None)
        gradients = {name: parameter.grad for name, parameter in run.model.named_parameters()}
        return {"loss": torch.tensor(run.progress.loss), **{key: of for key, of in gradients.items() if of is not None}}


if __name__ == "__main__":
    made = read_recipe(Path(sys.argv[1]))
    torch.save(gradients_of(made), made.out / f"gradients-{os.environ['RANK']}.pt")
