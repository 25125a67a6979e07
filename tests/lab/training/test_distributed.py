"""Two processes that train together, against one that trains alone on the same batches."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.lab.training import descent
from tests.lab.training.commands import TIMEOUT, changed, finish, losses, train, write_recipe
from tests.support.commands import Process, Processes
from tests.support.servers import free_port
from worker.detector.weights import load_weights
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.recipe import Recipe
from worker.lab.training.run import new_run

TORCHRUN = ("torch.distributed.run", "main")

pytestmark = pytest.mark.timeout(600)


def start_two(processes: Processes, target: tuple[str, str], *arguments: str | Path) -> list[Process]:
    """Two processes that call a function of this checkout, with the environment that `torchrun` gives them."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [processes.fork(target, *arguments, RANK=str(rank), LOCAL_RANK=str(rank), **group) for rank in range(2)]


def _normalize_by_halves(norm: nn.BatchNorm2d, tiles: Tensor) -> Tensor:
    """Each half of the batch by its own statistics, as two processes on a CPU do; those of the first are kept."""
    if not norm.training:
        return functional.batch_norm(tiles, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    first, second = torch.tensor_split(tiles, 2)
    kept = (norm.running_mean, norm.running_var)
    return torch.cat(
        [
            functional.batch_norm(half, mean, variance, norm.weight, norm.bias, True, 0.1, norm.eps)
            for half, (mean, variance) in ((first, kept), (second, (None, None)))
        ]
    )


@pytest.fixture
def together(recipe: Recipe, tmp_path: Path) -> Recipe:
    """Three steps per epoch, of seven tiles: an odd number. Dropout is off, because each process draws its own."""
    unequal = {"authentic": 1.0, "enlarged": 3.0}
    return changed(
        recipe,
        crop=64,
        out=tmp_path / "together",
        batch=7,
        tiles_per_epoch=21,
        epochs=2,
        dropout=0.0,
        class_weights=unequal,
        device="cpu",
    )


def test_two_processes_take_the_same_steps_as_one_on_the_same_batches(
    together: Recipe, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps: the loss within a hundred-thousandth, weights and gradients within a thousandth of each tensor's
    largest."""
    for process in start_two(processes, (descent.__name__, "main"), write_recipe(together), "3"):
        finish(process)
    first, second = (torch.load(together.out / f"result-{rank}.pt", weights_only=True) for rank in range(2))
    monkeypatch.setattr(nn.BatchNorm2d, "forward", _normalize_by_halves)
    alone = descent.descend(changed(together, out=tmp_path / "alone"), 3)
    assert len(alone) > 200
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name]), name
        tolerance = (1e-5 if name == "loss" else 1e-3) * float(expected.abs().max())
        torch.testing.assert_close(first[name], expected, rtol=0, atol=tolerance, msg=name)


def test_two_processes_train_as_one_does_on_the_same_batches(
    together: Recipe, processes: Processes, forked_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses within 0.1 %, weights within a tenth of the distance from the start. Adam's first steps amplify the last
    bits, which depend on the order of additions: it divides a gradient by its size. The test above shows that nothing
    else differs."""
    group = ("--standalone", "--nproc-per-node=2")
    command = (*group, "-m", "susy_worker.train", write_recipe(together))
    output = finish(processes.fork(TORCHRUN, *command, PYTHON_EXEC=str(forked_python)))
    assert output.count("epoch 1:") == 1  # one process prints

    alone = changed(together, out=tmp_path / "alone")
    monkeypatch.setattr(nn.BatchNorm2d, "forward", _normalize_by_halves)
    train(alone)

    for key in ("train_loss", "loss"):
        assert losses(together, key) == pytest.approx(losses(alone, key), rel=0.001), key
    assert len(losses(alone)) == 2
    (model, info), (single, _) = (load_weights(run.out / "weights.safetensors") for run in (together, alone))
    begun = new_run(alone, ProcessGroup(torch.device("cpu"))).model
    ends = (model, single, begun)
    ours_end, theirs_end, start_point = (torch.cat([of.detach().flatten() for of in end.parameters()]) for end in ends)
    assert float((ours_end - theirs_end).norm() / (theirs_end - start_point).norm()) < 0.1
    assert info.provenance["training"]["processes"] == 2


def test_an_error_of_one_process_ends_all_with_its_message(
    recipe: Recipe, processes: Processes, tmp_path: Path
) -> None:
    wrong = changed(recipe, out=tmp_path, classes=("authentic", "unheard-of"))
    both = start_two(processes, ("susy_worker.train", "main"), write_recipe(wrong))
    assert 0 not in [process.wait(TIMEOUT) for process in both]
    assert "data_invalid: class unheard-of" in processes.output()
