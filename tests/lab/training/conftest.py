from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from skimage.data import astronaut, coffee

from tests.lab.training.commands import MAX_PIXELS, train
from tests.support.commands import Processes
from tests.support.forks import ForkServer
from worker.lab.dataset.layouts import open_dataset
from worker.lab.dataset.patches import Geometry, Patches, cut_patches
from worker.lab.training.recipe import Recipe


@pytest.fixture
def processes(forks: ForkServer, tmp_path: Path) -> Iterator[Processes]:
    """Commands as processes without a GPU. Each would import PyTorch's compiler with its first optimizer."""
    forks.preload("torch._dynamo", "worker.lab.training.loop")
    folder = tmp_path / "processes"
    folder.mkdir()
    processes = Processes({"CUDA_VISIBLE_DEVICES": ""}, folder, forks)
    yield processes
    processes.stop()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of real pictures: unchanged, and enlarged from a quarter of their size."""
    folder = tmp_path_factory.mktemp("images")
    for split, photograph in (("train", astronaut()), ("val", coffee())):
        for number in range(4):
            x, y = 40 * number, 25 * number
            crop = Image.fromarray(photograph[y : y + 240, x : x + 240])
            small = crop.resize((60, 60), Image.Resampling.BOX)
            enlarged = small.resize(crop.size, Image.Resampling.BICUBIC)
            for name, image in (("authentic", crop), ("enlarged", enlarged)):
                (folder / name / split).mkdir(parents=True, exist_ok=True)
                image.save(folder / name / split / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def recipe(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return Recipe(
        name="tiny",
        data=images,
        out=tmp_path_factory.mktemp("run"),
        classes=("authentic", "enlarged"),
        patch=96,
        crop=32,
        patches_per_image=3,
        batch=8,
        epochs=2,
        learning_rate=5e-4,
        augment=(),
        seed=1,
        threads=1,
    )


@pytest.fixture(scope="session")
def finished(recipe: Recipe) -> Recipe:
    """The recipe, after training by it."""
    train(recipe)
    return recipe


@pytest.fixture(scope="session")
def patches(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Patches:
    """The training patches: 24 of 8 images."""
    entries = open_dataset(recipe.data).of("train")
    geometry = Geometry(recipe.patch, recipe.patches_per_image)
    return cut_patches(entries, recipe.classes, geometry, tmp_path_factory.mktemp("patches"), max_pixels=MAX_PIXELS)
