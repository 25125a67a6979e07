"""A real photograph, rebuilt by the real networks."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from tools.demo_weights.build import CROP, HELD_OUT_PREFIX, PIECE, SMALLEST_SIDE, Plan, build, cut_pieces
from tools.demo_weights.networks import HELD_OUT, SHRINK, TRAINED, Enlarger, Network, open_generator, rebuild
from tools.demo_weights.photographs import PHOTOGRAPHS, SPLITS, Photograph, extract_webp
from worker.errors import SetupError
from worker.lab.dataset.entries import Dataset
from worker.lab.dataset.layouts import open_dataset

SKIMAGE = Path(skimage.__file__).parent.parent
ASTRONAUT = next(photograph for photograph in PHOTOGRAPHS if photograph.name == "astronaut")
ENLARGERS = [network for network in (*TRAINED, *HELD_OUT) if isinstance(network, Network)]


def _astronaut(side: int) -> Image.Image:
    with Image.open(SKIMAGE / ASTRONAUT.path) as opened:
        return opened.convert("RGB").crop((150, 50, 150 + side, 50 + side))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of unpacked packages."""
    root = tmp_path_factory.mktemp("photographs")
    (root / ASTRONAUT.folder).symlink_to(SKIMAGE)
    return root


@pytest.fixture(scope="module")
def pieces(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pieces = tmp_path_factory.mktemp("pieces")
    (piece,) = cut_pieces([root], pieces, photographs=[ASTRONAUT])
    with Image.open(piece) as opened:
        small = opened.resize((opened.width // 2, opened.height // 2))
    small.save(piece)  # the networks take time
    return pieces


@pytest.fixture(scope="module")
def folder(pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rebuilt")
    build(pieces, folder, processes=1)
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
    assert {entry.split for entry in data} == {"test"}
    assert {entry.picture for entry in data} == {"astronaut"}
    sizes = {entry.pixels(10**8).shape for entry in data if entry.dataset != "authentic native"}
    assert len(sizes) == 1


def test_an_enlarged_image_resembles_the_crop_and_differs_from_it(data: Dataset) -> None:
    crop = next(entry.pixels(10**8) for entry in data if entry.dataset == "authentic resized").astype(int)
    for entry in data:
        if entry.label not in ("authentic", "style-transfer"):
            difference = np.abs(entry.pixels(10**8).astype(int) - crop).mean()
            assert 1 < difference < 20, entry.name


def test_the_same_pieces_make_the_same_bytes(pieces: Path, folder: Path, tmp_path: Path) -> None:
    build(pieces, tmp_path, processes=1)
    for path in sorted(folder.rglob("*.*")):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_the_table_of_composites_exists_without_large_pieces(folder: Path) -> None:
    with (folder / "composites.csv").open() as file:
        assert next(csv.reader(file))[:3] == ["path", "photograph", "network"]


def test_pieces_are_at_most_of_their_splits_size_and_hold_a_crop(root: Path, tmp_path: Path) -> None:
    train = Photograph(**{**vars(ASTRONAUT), "split": "train"})
    cut = cut_pieces([root], tmp_path, Plan(pieces=3), [train])
    assert len(cut) == 3
    for path in cut:
        with Image.open(path) as piece:
            assert all(most >= side >= SMALLEST_SIDE for most, side in zip(PIECE["train"], piece.size, strict=True))
    build(tmp_path, tmp_path / "rebuilt", Plan(every=3, crops=1), ("train",), processes=1)
    sizes = {entry.pixels(10**8).shape[:2] for entry in open_dataset(tmp_path / "rebuilt")}
    assert sizes == {CROP["train"]}


def test_a_missing_photograph_is_named(tmp_path: Path) -> None:
    absent = Photograph("absent", "test", "npm", "no-package@1.0.0", "usr/absent.jpg", "nobody", "CC0-1.0")
    with pytest.raises(SetupError, match=r"no-package@1\.0\.0:usr/absent\.jpg"):
        cut_pieces([tmp_path], tmp_path / "out", photographs=[absent])
    with pytest.raises(SetupError, match="has no pieces of train"):
        build(tmp_path, tmp_path / "out", splits=("train",))


def test_photographs_have_one_name_each_and_packages_one_split() -> None:
    assert max(Counter(photograph.name for photograph in PHOTOGRAPHS).values()) == 1
    assert {photograph.split for photograph in PHOTOGRAPHS} == set(SPLITS)
    assert all(photograph.author and photograph.licence for photograph in PHOTOGRAPHS)
    splits = {(photograph.package, photograph.split) for photograph in PHOTOGRAPHS}
    assert max(Counter(package for package, _ in splits).values()) == 1


def test_packages_kept_for_an_independent_check_are_not_used() -> None:
    assert not [of for of in PHOTOGRAPHS if of.package.startswith(("lomiri-wallpapers", "comfyui-workflow-templates"))]


def test_webp_files_are_found_within_resources(tmp_path: Path) -> None:
    for number in range(2):
        _astronaut(16 + number).save(tmp_path / f"{number}.webp")
    contents = [(tmp_path / f"{number}.webp").read_bytes() for number in range(2)]
    resources = tmp_path / "animals.rcc"
    resources.write_bytes(b"qres" + contents[0] + b"RIFF" + contents[1] + b"tree")
    extract_webp(resources)
    assert [path.read_bytes() for path in sorted((tmp_path / "animals").iterdir())] == contents


@pytest.mark.parametrize("network", ENLARGERS[:4] + ENLARGERS[5:], ids=lambda network: network.name)
def test_an_enlarged_crop_is_not_shifted(network: Network) -> None:
    """A wrong margin would shift it; shifted originals must differ more."""
    crop = _astronaut(160)
    rebuilt = np.asarray(rebuild(crop, Enlarger(network, threads=1), np.random.default_rng(0))).astype(int)
    original = np.asarray(crop).astype(int)
    middle = (slice(20, -20), slice(20, -20))

    def distance(dy: int, dx: int) -> float:
        moved = np.roll(original, (dy, dx), axis=(0, 1))
        return float(np.abs(rebuilt[middle] - moved[middle]).mean())

    here = distance(0, 0)
    assert here < 16
    assert all(here < distance(dy, dx) for dy, dx in ((4, 0), (-4, 0), (0, 4), (0, -4)))


@pytest.mark.parametrize("network", ENLARGERS[:1] + ENLARGERS[2:4], ids=lambda network: network.name)
def test_tiles_of_a_large_image_meet_without_a_seam(network: Network) -> None:
    image = np.asarray(_astronaut(160).resize((40, 40)))
    whole = Enlarger(network, threads=1).enlarge(image)
    in_tiles = Enlarger(network, threads=1, tile=24).enlarge(image)
    assert whole.shape == (40 * network.scale, 40 * network.scale, 3)
    inside = (slice(8, -8), slice(8, -8))
    assert np.abs(whole[inside].astype(int) - in_tiles[inside]).mean() < 1


def test_a_styled_crop_depends_on_the_style() -> None:
    styles = {
        np.asarray(rebuild(_astronaut(64), open_generator(TRAINED[0], 1), np.random.default_rng(seed))).tobytes()
        for seed in range(3)
    }
    assert len(styles) > 1


def test_a_crop_that_cannot_be_shrunk_exactly_is_refused() -> None:
    with pytest.raises(ValueError, match=f"shrunk by {SHRINK}"):
        rebuild(_astronaut(158), open_generator(TRAINED[1], threads=1), np.random.default_rng(0))
