"""What only a CUDA device can show."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.lab.training.commands import curve
from worker.detector.weights import load_weights
from worker.lab.training import loop
from worker.lab.training.loop import fit
from worker.lab.training.recipe import Recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_each_precision_trains_and_writes_float32_weights(recipe: Recipe, tmp_path: Path, precision: str) -> None:
    run = replace(recipe, out=tmp_path, precision=precision, device="cuda")
    path = fit(run)
    losses = [float(row["train_loss"]) for row in curve(run.out)]
    assert losses[-1] < losses[0]
    model, info = load_weights(path)
    assert model.conv1.weight.dtype == torch.float32
    assert info.provenance["training"]["device"] == torch.cuda.get_device_name()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_stopped_run_goes_on_with_its_scaler_and_its_generators(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Within 1 %: CUDA adds in no fixed order."""
    unbroken, broken = (
        replace(recipe, out=tmp_path / name, precision=precision, device="cuda", checkpoint_every=2)
        for name in ("unbroken", "broken")
    )
    fit(unbroken)
    save = loop.save_checkpoint

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_and_stop)
    for _ in range(3):  # within the first epoch, at its end, within the second
        with pytest.raises(KeyboardInterrupt):
            fit(broken)
    monkeypatch.undo()
    fit(broken)
    ours, theirs = ([float(row["train_loss"]) for row in curve(run.out)] for run in (broken, unbroken))
    assert ours == pytest.approx(theirs, rel=0.01)
