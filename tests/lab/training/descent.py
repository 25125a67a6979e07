"""Some training steps by plain gradient descent: `main` is what each process of a group calls."""

import gc
import os
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from tests.lab.training.commands import MAX_PIXELS
from worker.lab.training.batches import epoch_order, split_into_steps, training_batches
from worker.lab.training.data import load_data
from worker.lab.training.distributed import process_group
from worker.lab.training.epoch import train_steps
from worker.lab.training.recipe import Recipe, read_recipe
from worker.lab.training.run import new_run


def descend(recipe: Recipe, count: int) -> dict[str, Tensor]:
    """The result of `count` steps: the mean loss, and by name the weights and the last step's gradients.

    Gradient descent keeps small differences small; Adam's first steps turn the sign of a tiny gradient into a step of
    full length.
    """
    torch.set_num_threads(1)
    with process_group("cpu") as group:
        data = load_data(recipe, group, max_pixels=MAX_PIXELS)
        run = new_run(recipe, group)
        run.optimizer = torch.optim.SGD(run.model.parameters(), lr=recipe.learning_rate)
        steps = split_into_steps(epoch_order(recipe, data.train, 0), recipe.batch, group.size)[:count]
        batches = training_batches(
            recipe, data.train, steps, epoch=0, class_weights=data.class_weights, rank=group.rank, processes=group.size
        )
        train_steps(recipe, run, group, steps, batches, lambda: None)
        result = {"loss": torch.tensor(run.progress.loss / run.progress.tiles)}
        for name, parameter in run.model.named_parameters():
            result[f"weight {name}"] = parameter.detach()
            if parameter.grad is not None:
                result[f"gradient {name}"] = parameter.grad
    # The run is still there, and must not hold the group: ending the group then could wait for itself.
    assert run.model.training
    assert not [alive for alive in gc.get_objects() if type(alive) is DistributedDataParallel]
    return result


def main() -> None:
    """`RECIPE COUNT`: write the result of `count` steps beside the recipe."""
    read = read_recipe(Path(sys.argv[1]))
    torch.save(descend(read, int(sys.argv[2])), read.out / f"result-{os.environ['RANK']}.pt")
