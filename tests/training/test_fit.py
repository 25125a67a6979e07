import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worker.detector.weights import load_weights
from worker.errors import SetupError
from worker.training import fit as module
from worker.training.fit import fit
from worker.training.recipe import Recipe


def _losses(recipe: Recipe) -> list[float]:
    with (recipe.out / "metrics.csv").open(newline="") as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def finished(recipe: Recipe) -> Recipe:
    fit(recipe)
    return recipe


def test_training_lowers_the_loss_and_writes_loadable_weights(finished: Recipe) -> None:
    losses = _losses(finished)
    assert len(losses) == finished.epochs
    assert losses[-1] < losses[0]
    model, info = load_weights(finished.out / "weights.safetensors")
    assert info.classes == finished.classes
    assert info.name == "tiny"
    assert info.provenance["training_tiles"] == [12, 12]
    assert info.provenance["recipe"]["learning_rate"] == finished.learning_rate
    assert str(finished.data) not in repr(info.provenance)
    with torch.inference_mode():
        probabilities = model(torch.rand(2, 3, 64, 64))
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(2))


def test_a_stopped_run_goes_on_as_if_it_never_stopped(
    finished: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = module._save_checkpoint

    def save_and_stop(recipe: Recipe, run: module.Run) -> None:
        save(recipe, run)
        raise KeyboardInterrupt

    broken = replace(finished, out=tmp_path)
    monkeypatch.setattr(module, "_save_checkpoint", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        fit(broken)
    monkeypatch.setattr(module, "_save_checkpoint", save)
    path = fit(broken)

    assert _losses(broken) == pytest.approx(_losses(finished), rel=1e-4)
    unbroken = load_weights(finished.out / "weights.safetensors")[0].state_dict()
    for key, tensor in load_weights(path)[0].state_dict().items():
        torch.testing.assert_close(tensor, unbroken[key], rtol=1e-3, atol=1e-4, msg=key)


def test_a_finished_run_is_not_trained_again(finished: Recipe) -> None:
    path = finished.out / "weights.safetensors"
    written = path.stat().st_mtime_ns
    assert fit(finished) == path
    assert path.stat().st_mtime_ns == written
    assert len(_losses(finished)) == finished.epochs


def test_another_recipe_does_not_continue_a_run(finished: Recipe) -> None:
    with pytest.raises(SetupError, match="another recipe"):
        fit(replace(finished, learning_rate=1e-4))


def test_training_can_start_from_weights(finished: Recipe, tmp_path: Path) -> None:
    start = finished.out / "weights.safetensors"
    second = replace(finished, start=start, out=tmp_path, crop=96, epochs=1, learning_rate=1e-5)
    path = fit(second)
    assert _losses(second)[0] < _losses(finished)[0]
    assert load_weights(path)[1].provenance["recipe"]["started_from_weights"] is True


def test_weights_of_other_classes_are_no_start(finished: Recipe, tmp_path: Path) -> None:
    start = finished.out / "weights.safetensors"
    with pytest.raises(SetupError, match="`start`"):
        fit(replace(finished, start=start, out=tmp_path, classes=("enlarged", "authentic")))


def test_training_the_head_alone_leaves_the_rest_and_lowers_the_validation_loss(
    finished: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = finished.out / "weights.safetensors"
    path = fit(replace(finished, start=start, out=tmp_path, head_only=True, learning_rate=1e-3))
    before, after = (load_weights(file)[0] for file in (start, path))
    for name, tensor in before.state_dict().items():
        if not name.startswith("fc"):
            assert torch.equal(tensor, after.state_dict()[name]), name
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines() if line.startswith("validation")]
    assert losses[1] <= losses[0]
    assert load_weights(path)[1].provenance["validation"]["loss"] == pytest.approx(losses[1], abs=1e-4)
