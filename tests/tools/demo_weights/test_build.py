"""A real photograph, rebuilt by the real networks."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from tools.demo_weights.build import HELD_OUT_PREFIX, Plan, build
from tools.demo_weights.finish import open_rebuilt
from tools.demo_weights.networks import HELD_OUT, SHRINK, TRAINED, Enlarger, Network, rebuild
from tools.demo_weights.photographs import PHOTOGRAPHS, SPLITS, Photograph
from worker.lab.dataset.entries import Dataset
from worker.lab.dataset.layouts import open_dataset

SITE_PACKAGES = Path(skimage.__file__).parent.parent
COFFEE = next(photograph for photograph in PHOTOGRAPHS if photograph.name == "coffee")


def _coffee(side: int) -> Image.Image:
    with Image.open(SITE_PACKAGES / COFFEE.path) as opened:
        return opened.convert("RGB").crop((150, 50, 150 + side, 50 + side))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rebuilt")
    build([SITE_PACKAGES], folder, Plan(crops_small=1), [COFFEE], processes=1)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return open_dataset(folder)


def test_a_crop_comes_in_every_class_and_of_one_size(data: Dataset) -> None:
    assert Counter(entry.label for entry in data) == {
        "authentic": 4,
        **{network.name: 1 for network in TRAINED},
        **{HELD_OUT_PREFIX + network.name: 1 for network in HELD_OUT},
    }
    assert {entry.split for entry in data} == {COFFEE.split}
    assert {entry.picture for entry in data} == {"coffee-00"}
    sizes = {entry.pixels(10**8).shape for entry in data if entry.dataset != "authentic native"}
    assert len(sizes) == 1


def test_a_rebuilt_image_resembles_the_crop_and_differs_from_it(data: Dataset) -> None:
    crop = next(entry.pixels(10**8) for entry in data if entry.dataset == "authentic resized").astype(int)
    for entry in data:
        if entry.label != "authentic":
            difference = np.abs(entry.pixels(10**8).astype(int) - crop).mean()
            assert 1 < difference < 16, entry.name


def test_the_same_plan_makes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    build([SITE_PACKAGES], tmp_path, Plan(crops_small=1), [COFFEE], processes=1)
    for path in sorted(folder.rglob("*.*")):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_the_table_of_composites_exists_without_large_photographs(folder: Path) -> None:
    with (folder / "composites.csv").open() as file:
        assert next(csv.reader(file))[:3] == ["path", "photograph", "network"]


def test_pictures_are_whole_photographs(folder: Path) -> None:
    assert {entry.picture for entry in open_rebuilt(folder)} == {"coffee"}


def test_a_missing_photograph_is_named(tmp_path: Path) -> None:
    absent = Photograph("absent", "test", "no-package", "usr/absent.jpg", "nobody", "CC0-1.0")
    with pytest.raises(FileNotFoundError, match=r"no-package:usr/absent\.jpg"):
        build([tmp_path], tmp_path / "out", Plan(), [absent])


def test_photographs_have_one_split_and_one_name_each() -> None:
    assert max(Counter(photograph.name for photograph in PHOTOGRAPHS).values()) == 1
    assert {photograph.split for photograph in PHOTOGRAPHS} == set(SPLITS)
    assert all(photograph.author and photograph.licence for photograph in PHOTOGRAPHS)


@pytest.mark.parametrize("network", [TRAINED[1], TRAINED[2], HELD_OUT[1]], ids=lambda network: network.name)
def test_an_enlarged_crop_is_not_shifted(network: Network) -> None:
    """A wrong margin would shift it; shifted originals must differ more."""
    crop = _coffee(160)
    rebuilt = np.asarray(rebuild(crop, Enlarger(network, threads=1), np.random.default_rng(0))).astype(int)
    original = np.asarray(crop).astype(int)
    middle = (slice(20, -20), slice(20, -20))

    def distance(dy: int, dx: int) -> float:
        moved = np.roll(original, (dy, dx), axis=(0, 1))
        return float(np.abs(rebuilt[middle] - moved[middle]).mean())

    here = distance(0, 0)
    assert here < 12
    assert all(here < distance(dy, dx) for dy, dx in ((4, 0), (-4, 0), (0, 4), (0, -4)))


def test_tiles_of_a_large_image_meet_without_a_seam() -> None:
    image = np.asarray(_coffee(160).resize((40, 40)))
    whole = Enlarger(TRAINED[1], threads=1).enlarge(image)
    in_tiles = Enlarger(TRAINED[1], threads=1, tile=24).enlarge(image)
    assert whole.shape == (160, 160, 3)
    inside = (slice(8, -8), slice(8, -8))
    assert np.abs(whole[inside].astype(int) - in_tiles[inside]).mean() < 1


def test_a_crop_that_cannot_be_shrunk_exactly_is_refused() -> None:
    with pytest.raises(ValueError, match=f"shrunk by {SHRINK}"):
        rebuild(_coffee(158), Enlarger(TRAINED[1], threads=1), np.random.default_rng(0))
