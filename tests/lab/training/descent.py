"""Some training steps of a recipe, by plain gradient descent: `torchrun … -m tests.lab.training.descent RECIPE`."""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from worker.lab.training.batches import training_batches
from worker.lab.training.data import load_data
from worker.lab.training.distributed import join
from worker.lab.training.order import epoch_order, steps_of
from worker.lab.training.recipe import Recipe, read_recipe
from worker.lab.training.state import new_run
from worker.lab.training.step import train


def descend(recipe: Recipe, count: int) -> dict[str, Tensor]:
    """What `count` steps leave: the mean loss, and by name the weights and the last step's gradients.

    Gradient descent carries small differences on as they are; Adam's first steps turn the sign of a tiny gradient
    into a step of full length.
    """
    torch.set_num_threads(1)
    with join("cpu") as group:
        data = load_data(recipe, group, max_pixels=10**8)
        run = new_run(recipe, group)
        run.optimizer = torch.optim.SGD(run.model.parameters(), lr=recipe.learning_rate)
        steps = steps_of(epoch_order(recipe, data.train, 0), recipe.batch, group.size)[:count]
        batches = training_batches(
            recipe, data.train, steps, epoch=0, class_weights=data.class_weights, rank=group.rank, processes=group.size
        )
        train(recipe, run, group, steps, batches, lambda: None)
        left = {"loss": torch.tensor(run.progress.loss / run.progress.tiles)}
        for name, parameter in run.model.named_parameters():
            left[f"weight {name}"] = parameter.detach()
            if parameter.grad is not None:
                left[f"gradient {name}"] = parameter.grad
        return left


if __name__ == "__main__":
    made = read_recipe(Path(sys.argv[1]))
    torch.save(descend(made, int(sys.argv[2])), made.out / f"left-{os.environ['RANK']}.pt")
