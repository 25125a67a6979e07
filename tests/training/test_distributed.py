"""Two processes that train together, against one that trains alone on the same batches."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.training.commands import PATIENCE, curve, finish, start, write_recipe
from tests.training.one_step import gradients_of
from worker.detector.weights import load_weights
from worker.training.loop import fit
from worker.training.recipe import Recipe

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")

pytestmark = pytest.mark.timeout(1800)


def _normalize_by_halves(norm: nn.BatchNorm2d, tiles: Tensor) -> Tensor:
    """Each half of the batch by its own statistics, as two processes on a CPU do; the first's are kept."""
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
    """A batch of seven does not divide by two. Dropout is off, as each process draws its own."""
    unequal = {"authentic": 1.0, "enlarged": 3.0}
    return replace(
        recipe, out=tmp_path / "together", batch=7, epochs=2, dropout=0.0, class_weights=unequal, device="cpu"
    )


def test_the_gradients_of_two_processes_are_those_of_one_on_the_same_batch(
    together: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a hundred-thousandth of each tensor's largest."""
    finish(start(*TORCHRUN, "-m", "tests.training.one_step", write_recipe(together)))
    first, second = (torch.load(together.out / f"gradients-{rank}.pt", weights_only=True) for rank in range(2))
    monkeypatch.setattr(nn.BatchNorm2d, "forward", _normalize_by_halves)
    alone = gradients_of(replace(together, out=tmp_path / "alone"))
    assert len(alone) > 100
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name]), name
        tolerance = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(first[name], expected, rtol=0, atol=tolerance, msg=name)


def test_two_processes_train_as_one_does_on_the_same_batches(
    together: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses within 1 %. Adam divides small gradients by themselves, so that in the first steps it makes much of the
    last bits, which depend on the order of additions; the test above shows that nothing else differs."""
    output = finish(start(*TORCHRUN, "-m", "worker.training", write_recipe(together)))
    assert output.count("epoch 1:") == 1  # one process speaks

    alone = replace(together, out=tmp_path / "alone")
    monkeypatch.setattr(nn.BatchNorm2d, "forward", _normalize_by_halves)
    fit(alone)

    ours, theirs = curve(together.out), curve(alone.out)
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        for key in ("train_loss", "loss"):
            assert float(one[key]) == pytest.approx(float(other[key]), rel=0.01), key
    (model, info), (single, _) = (load_weights(run.out / "weights.safetensors") for run in (together, alone))
    for name, tensor in model.state_dict().items():
        steps = 3 * together.epochs * together.learning_rate  # how far Adam can have moved a weight, at most about
        torch.testing.assert_close(tensor, single.state_dict()[name], rtol=0.01, atol=steps, msg=name)
    assert info.provenance["training"]["processes"] == 2


def test_an_error_of_one_process_ends_all_with_its_message(recipe: Recipe, tmp_path: Path) -> None:
    wrong = replace(recipe, out=tmp_path, classes=("authentic", "unheard-of"))
    process = start(*TORCHRUN, "-m", "worker.training", write_recipe(wrong))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "data_invalid: class unheard-of" in output
