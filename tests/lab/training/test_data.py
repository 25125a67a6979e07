import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.lab.training.commands import MAX_PIXELS, changed
from tests.support.commands import Processes
from worker.errors import ErrorCode, SetupError
from worker.lab.training.data import Data, load_data
from worker.lab.training.distributed import ProcessGroup
from worker.lab.training.recipe import Recipe


def load(recipe: Recipe) -> Data:
    return load_data(recipe, ProcessGroup(torch.device("cpu")), max_pixels=MAX_PIXELS)


@pytest.fixture
def copied(recipe: Recipe, tmp_path: Path) -> Recipe:
    """A recipe whose data may be spoiled."""
    shutil.copytree(recipe.data, tmp_path / "images", copy_function=shutil.copyfile)
    return changed(recipe, data=tmp_path / "images", out=tmp_path / "out")


def _without_validation(data: Path) -> None:
    for folder in data.glob("*/val"):
        shutil.rmtree(folder)


def _class_without_validation(data: Path) -> None:
    shutil.rmtree(data / "enlarged" / "val")


def _empty_class(data: Path) -> None:
    for file in (data / "enlarged" / "train").iterdir():
        file.unlink()


def _unreadable(data: Path) -> None:
    (data / "enlarged" / "train" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")


def _leaking(data: Path) -> None:
    shutil.copyfile(data / "authentic" / "train" / "1.png", data / "authentic" / "val" / "again.png")


def _too_small(data: Path) -> None:
    for file in (data / "enlarged" / "val").iterdir():
        Image.fromarray(np.zeros((50, 300, 3), np.uint8)).save(file)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_without_validation, "split val"),
        (_class_without_validation, r"class enlarged .*split val"),
        (_empty_class, r"enlarged/train is empty"),
        (_unreadable, r"enlarged/train/2\.png"),
        (_leaking, r"authentic/train/1\.png .*authentic/val/again\.png"),
        (_too_small, r"class enlarged has no image of at least 96"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_by_name(
    copied: Recipe, spoil: Callable[[Path], None], named: str
) -> None:
    spoil(copied.data)
    with pytest.raises(SetupError, match=named) as raised:
        load(copied)
    assert raised.value.code is ErrorCode.DATA_INVALID


def test_a_class_of_the_recipe_that_the_data_lack_is_named(recipe: Recipe) -> None:
    with pytest.raises(SetupError, match=r"class unheard-of .*split train"):
        load(changed(recipe, classes=("authentic", "unheard-of")))


def test_classes_that_the_recipe_does_not_name_are_left_out_and_listed(copied: Recipe) -> None:
    shutil.copytree(copied.data / "enlarged" / "train", copied.data / "third" / "train")
    data = load(copied)
    assert data.ignored == ("third",)
    assert len(data.train) == 24
    assert data.images == {
        "train": {"authentic": 4, "enlarged": 4},
        "val": {"authentic": 4, "enlarged": 4},
    }


def test_balanced_classes_count_the_same(copied: Recipe) -> None:
    for number in (1, 2, 3):
        (copied.data / "enlarged" / "train" / f"{number}.png").unlink()
    assert load(copied).class_weights.tolist() == [1, 1]
    data = load(changed(copied, class_weights="balanced"))
    counts = np.bincount(data.train.labels)
    assert counts.tolist() == [12, 3]
    assert (counts * data.class_weights).tolist() == [7.5, 7.5]
    table = {"authentic": 2.0, "enlarged": 0.5}
    assert load(changed(copied, class_weights=table)).class_weights.tolist() == [
        2,
        0.5,
    ]


def test_the_fingerprint_is_of_pixels_and_labels_and_not_of_files(recipe: Recipe, copied: Recipe) -> None:
    original = load(recipe).fingerprint
    assert load(copied).fingerprint == original
    file = copied.data / "enlarged" / "val" / "3.png"
    file.rename(file.with_name("4.png"))
    assert load(copied).fingerprint == original
    changed = np.asarray(Image.open(file.with_name("4.png"))).copy()
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(file.with_name("4.png"))
    assert load(copied).fingerprint != original


def test_the_command_ends_with_one_line(processes: Processes, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('name = "x"\ndata = "nowhere"\nout = "out"\nclasses = ["a", "b"]\nbatch = 0\n')
    process = processes.start("train", file)
    assert process.wait() == 2
    assert process.output() == (f"susy: recipe_invalid: {file}: `batch`: Input should be greater than or equal to 1\n")
