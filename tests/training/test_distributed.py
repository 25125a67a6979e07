"""Two processes that train together, against one that trains alone on the same batches."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.training.commands import curve, finish, start, write_recipe
from worker.detector.weights import load_weights
from worker.training.loop import fit
from worker.training.recipe import Recipe

pytestmark = pytest.mark.timeout(900)


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


def test_two_processes_train_as_one_does_on_the_same_batches(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses within 0.01 % of each other, weights within 1e-4: sums of floats in another order, over six steps.

    A batch of seven does not divide by two. Dropout is off, as each process draws its own.
    """
    together, alone = (
        replace(recipe, out=tmp_path / name, batch=7, epochs=2, dropout=0.0, class_weights="balanced", device="cpu")
        for name in ("together", "alone")
    )
    output = finish(
        start("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "worker.training",
              write_recipe(together))
    )  # fmt: skip
    assert output.count("epoch 1:") == 1  # one process speaks

    monkeypatch.setattr(nn.BatchNorm2d, "forward", _normalize_by_halves)
    fit(alone)

    ours, theirs = curve(together.out), curve(alone.out)
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        for key in ("train_loss", "loss", "train_accuracy", "accuracy", "detection_f1"):
            assert float(one[key]) == pytest.approx(float(other[key]), rel=1e-4), key
    (model, info), (single, _) = (load_weights(run.out / "weights.safetensors") for run in (together, alone))
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, single.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)
    assert info.provenance["training"]["processes"] == 2


def test_an_error_of_one_process_ends_all_with_its_message(recipe: Recipe, tmp_path: Path) -> None:
    wrong = replace(recipe, out=tmp_path, classes=("authentic", "unheard-of"))
    process = start(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "worker.training",
        write_recipe(wrong),
    )  # fmt: skip
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "data_invalid: class unheard-of" in output
