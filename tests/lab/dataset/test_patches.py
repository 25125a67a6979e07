from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.feature import graycomatrix, graycoprops

from tests.support.commands import Spawned, environment, run
from tests.support.full_disk import file_size_limit
from worker.detector.contrast import luma, tile_contrasts
from worker.errors import ErrorCode, SetupError
from worker.lab.dataset.entries import Entry
from worker.lab.dataset.layouts import open_dataset
from worker.lab.dataset.patches import Geometry, Patches, cut_patches, highest_contrast_patches

from .conftest import MakeFolder, Photographs

CLASSES = ("authentic", "dull")
SMALL = Geometry(patch=96, patches_per_image=3)
patches_of = partial(cut_patches, max_pixels=10**8)


def same(one: Patches, other: Patches) -> bool:
    columns = ("pixels", "labels", "images", "pictures", "corners")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in columns)


def kept(cache: Path) -> list[Path]:
    return sorted(child for child in cache.iterdir() if child.is_dir())


def test_patches_are_the_ones_of_highest_contrast_first(photographs: Photographs) -> None:
    photograph = photographs["astronaut"]
    gray = luma(photograph)
    chosen = tile_contrasts(gray, highest_contrast_patches(photograph, Geometry(96, 5)), size=96).tolist()
    every = highest_contrast_patches(photograph, Geometry(96, 1000))
    assert len(chosen) == 5
    assert len(every) == 36  # 512 = 5 · 96 + 32: six per side, the last moved back
    assert chosen == sorted(tile_contrasts(gray, every, size=96).tolist(), reverse=True)[:5]
    assert every.max() == 512 - 96


def test_the_cards_five_of_240_are_those_of_scikit_images_matrix(photographs: Photographs) -> None:
    photograph = photographs["astronaut"]  # three patches per side
    gray = luma(photograph)
    contrasts = {}
    for y in (0, 240, 272):
        for x in (0, 240, 272):
            matrix = graycomatrix(gray[y : y + 240, x : x + 240], [5], [0], levels=256, symmetric=True, normed=True)
            contrasts[x, y] = float(graycoprops(matrix, "contrast")[0, 0])
    expected = sorted(contrasts, key=lambda corner: -contrasts[corner])[:5]
    assert [tuple(corner) for corner in highest_contrast_patches(photograph, Geometry()).tolist()] == expected


def test_a_flat_half_gives_no_patch_while_there_is_a_textured_one(photographs: Photographs) -> None:
    half_flat = photographs["astronaut"][:480, :480].copy()
    half_flat[:, 240:] = 128
    assert highest_contrast_patches(half_flat, Geometry(240, 2))[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("size", [(239, 500), (500, 239)])
def test_an_image_smaller_than_a_patch_has_none(photographs: Photographs, size: tuple[int, int]) -> None:
    assert len(highest_contrast_patches(photographs["astronaut"][: size[0], : size[1]], Geometry())) == 0


def test_every_patch_is_what_its_image_shows_at_its_corner(make_folder: MakeFolder, tmp_path: Path) -> None:
    entries = open_dataset(make_folder(count=3)).of("train")
    patches = patches_of(entries, CLASSES, SMALL, tmp_path / "cache")
    assert len(patches) == len(patches.pixels) == 6 * 3
    assert np.bincount(patches.labels).tolist() == [9, 9]
    assert np.bincount(patches.images).tolist() == [3] * 6
    for patch, label, image, (x, y) in zip(
        patches.pixels, patches.labels, patches.images, patches.corners.tolist(), strict=True
    ):
        entry = entries[image]
        assert CLASSES[label] == entry.label
        assert np.array_equal(patch, entry.pixels(10**8)[y : y + 96, x : x + 96])


def test_the_second_time_nothing_is_decoded(make_folder: MakeFolder, tmp_path: Path) -> None:
    entries = open_dataset(make_folder()).of("train")
    cut = patches_of(entries, CLASSES, SMALL, tmp_path / "cache")
    blind = [replace(entry, source=FingerprintOnly(entry.source.fingerprint())) for entry in entries]
    assert same(patches_of(blind, CLASSES, SMALL, tmp_path / "cache"), cut)


class FingerprintOnly:
    """A source of which only the fingerprint is left."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def read(self) -> bytes:
        raise AssertionError("read, although the patches are in the cache")

    def fingerprint(self) -> str:
        return self._fingerprint


def test_any_number_of_processes_cuts_the_same_patches(make_folder: MakeFolder, tmp_path: Path) -> None:
    entries = open_dataset(make_folder(count=40, splits=("train",), side=100)).of("train")
    alone = patches_of(entries, CLASSES, SMALL, tmp_path / "alone", processes=1)
    together = patches_of(entries, CLASSES, SMALL, tmp_path / "together", processes=2)
    assert same(alone, together)


def test_images_with_few_patches_leave_no_gaps(tmp_path: Path, photographs: Photographs) -> None:
    sides = (300, 240, 500, 100, 480, 250)
    for number, side in enumerate(sides):
        Image.fromarray(photographs["astronaut"][:side, :side]).save(tmp_path / f"{number}.png")
    rows = "\n".join(f"{number}.png,authentic,train" for number in range(len(sides)))
    (tmp_path / "list.csv").write_text(f"path,class,split\n{rows}\n")
    entries = open_dataset(tmp_path / "list.csv").of("train")
    patches = patches_of(entries, ["authentic"], Geometry(), tmp_path / "cache")
    assert np.bincount(patches.images).tolist() == [4, 1, 5, 0, 4, 4]
    assert patches.left_out == 1
    for patch, image, (x, y) in zip(patches.pixels, patches.images, patches.corners.tolist(), strict=True):
        assert np.array_equal(patch, photographs["astronaut"][: sides[image], : sides[image]][y : y + 240, x : x + 240])
    (folder,) = kept(tmp_path / "cache")
    assert sum(file.stat().st_size for file in folder.glob("*.u8")) == len(patches) * Geometry().patch_bytes


@pytest.mark.parametrize("change", ["touched", "renamed", "relabelled", "classes", "geometry", "picture", "dropped"])
def test_whatever_changes_patches_are_cut_anew(make_folder: MakeFolder, tmp_path: Path, change: str) -> None:
    entries: Sequence[Entry] = open_dataset(make_folder()).of("train")
    classes, geometry = CLASSES, SMALL
    patches_of(entries, classes, geometry, tmp_path / "cache")
    first, *others = entries
    match change:
        case "touched":
            os.utime(tmp_path / "images" / first.name, ns=(0, 0))
        case "renamed":
            entries = [replace(first, name="another"), *others]
        case "relabelled":
            entries = [replace(first, label="dull"), *others]
        case "picture":
            entries = [replace(first, picture=others[0].picture), *others]
        case "dropped":
            entries = others
        case "classes":
            classes = ("dull", "authentic")
        case "geometry":
            geometry = Geometry(patch=96, patches_per_image=2)
    patches_of(entries, classes, geometry, tmp_path / "cache")
    assert len(kept(tmp_path / "cache")) == 2


def test_a_shortened_cache_is_cut_anew(make_folder: MakeFolder, tmp_path: Path) -> None:
    entries = open_dataset(make_folder()).of("train")
    cut = patches_of(entries, CLASSES, SMALL, tmp_path / "cache")
    expected = np.array(cut.pixels)
    (folder,) = kept(tmp_path / "cache")
    del cut
    os.truncate(next(folder.glob("*.u8")), 1000)
    assert np.array_equal(patches_of(entries, CLASSES, SMALL, tmp_path / "cache").pixels, expected)


def test_what_a_killed_process_left_is_not_taken_for_whole(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(count=4)
    waiting, reached = tmp_path / "last.png", tmp_path / "reached"
    waiting.touch()
    with (tmp_path / "list.csv").open("a") as lines:
        lines.write("last.png,authentic,train,last,ignored\n")
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from worker.lab.dataset.entries import FileSource\n"
        "from worker.lab.dataset.layouts import open_dataset\n"
        "from worker.lab.dataset.patches import Geometry, cut_patches\n"
        "read = FileSource.read\n"
        "def read_until_the_last(source):\n"
        "    if source.path.name == 'last.png':\n"
        f"        Path({str(reached)!r}).touch()\n"
        "        time.sleep(60)\n"
        "    return read(source)\n"
        "FileSource.read = read_until_the_last\n"
        f"entries = open_dataset(Path({str(tmp_path / 'list.csv')!r})).of('train')\n"
        f"out = Path({str(tmp_path / 'cache')!r})\n"
        f"cut_patches(entries, {CLASSES}, Geometry(96, 3), out, max_pixels=10**8, processes=1)\n"
    )
    process = Spawned(
        sys.executable, "-c", script, folder=tmp_path, log=tmp_path / "process.log", environment=environment()
    )
    process.eventually(reached.exists)
    process.kill()
    (left,) = kept(tmp_path / "cache")
    assert left.name.endswith(".partial")
    waiting.unlink()
    Image.fromarray(open_dataset(folder).of("test")[0].pixels(10**8)).save(waiting)
    patches = patches_of(open_dataset(tmp_path / "list.csv").of("train"), CLASSES, SMALL, tmp_path / "cache")
    assert np.bincount(patches.images).tolist() == [3] * 9


def test_two_who_ask_at_once_cut_once(make_folder: MakeFolder, tmp_path: Path) -> None:
    entries = open_dataset(make_folder(count=4)).of("train")
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(patches_of, entries, CLASSES, SMALL, tmp_path / "cache") for _ in range(2)]
        one, other = (future.result() for future in asked)
    assert same(one, other)
    assert one.pixels.filename == other.pixels.filename  # type: ignore[attr-defined]


def test_a_file_that_cannot_be_written_whole_is_an_error_naming_the_folder_and_leaves_nothing(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    entries = open_dataset(make_folder()).of("train")
    cache = tmp_path / "cache"
    with file_size_limit(100_000), pytest.raises(SetupError, match=str(cache)) as refused:
        patches_of(entries, CLASSES, SMALL, cache)
    assert refused.value.code is ErrorCode.DISK_FULL
    assert kept(cache) == []
    assert len(patches_of(entries, CLASSES, SMALL, cache)) == 12


def test_an_unreadable_image_is_named_from_another_process_too(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(count=40, splits=("train",), side=100)
    broken = folder / "dull" / "train" / "7.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    entries = open_dataset(folder).of("train")
    for processes in (1, 2):
        with pytest.raises(SetupError, match=r"dull/train/7\.png cannot be decoded .*`susy data inspect") as refused:
            patches_of(entries, CLASSES, SMALL, tmp_path / "cache", processes=processes)
        assert refused.value.code is ErrorCode.DATA_INVALID
    assert kept(tmp_path / "cache") == []


def test_a_class_without_images_or_with_small_ones_alone_is_named(make_folder: MakeFolder, tmp_path: Path) -> None:
    entries = open_dataset(make_folder()).of("train")
    with pytest.raises(SetupError, match="unheard-of has no image; add some"):
        patches_of(entries, (*CLASSES, "unheard-of"), SMALL, tmp_path / "cache")
    with pytest.raises(SetupError, match="authentic, dull has no image of at least 255 × 255 pixels"):
        patches_of(entries, CLASSES, Geometry(patch=255), tmp_path / "cache")
    with pytest.raises(SetupError, match=r"dull/train/0\.png is of class dull, which is not among authentic"):
        patches_of(entries, ["authentic"], SMALL, tmp_path / "cache")


def test_processes_that_cut_do_not_load_torch() -> None:
    script = "import sys, worker.lab.dataset.patches; sys.exit('torch' in sys.modules)"
    assert run(sys.executable, "-c", script).code == 0
