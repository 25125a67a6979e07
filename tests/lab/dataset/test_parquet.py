"""Parquet files, made by the libraries that people make them with."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.lazily import ImportedWhenUsed
from worker.errors import SetupError
from worker.lab.dataset.layouts import open_dataset
from worker.lab.dataset.patches import Geometry, cut_patches

from .conftest import MakeFolder, Photographs

datasets = ImportedWhenUsed("datasets")
parquet = ImportedWhenUsed("pyarrow.parquet")

CLASSES = ["coco", "dalle-3-images", "diffusiondb"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, photographs: Photographs) -> Path:
    """A folder as the `datasets` library writes it: two files of train, one each of the others."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    folder = tmp_path_factory.mktemp("hub") / "SuSy-Dataset"
    (folder / "data").mkdir(parents=True)
    for number, file in enumerate(("train-00000-of-00002", "train-00001-of-00002", "val-00000-of-00001", "test-00000")):
        rows: dict[str, list[Any]] = {"image": [], "label": []}
        for label in range(3):
            crop = photographs["astronaut"][10 * number : 10 * number + 250, 10 * label : 10 * label + 260]
            rows["image"].append(Image.fromarray(crop))
            rows["label"].append(label)
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(folder / "data" / f"{file}.parquet", batch_size=2)  # two row groups
    return folder


@pytest.fixture
def shards(written: Path, tmp_path: Path) -> Path:
    """A copy of the folder that a test may change."""
    return Path(shutil.copytree(written, tmp_path / written.name))


def test_rows_have_the_names_of_their_labels_and_the_split_of_their_file(shards: Path) -> None:
    dataset = open_dataset(shards)
    assert [len(dataset.of(split)) for split in ("train", "val", "test")] == [6, 3, 3]
    assert [entry.label for entry in dataset.of("train")] == CLASSES * 2
    assert dataset.of("train")[5].name == "data/train-00001-of-00002.parquet:2"
    assert len({entry.name for entry in dataset}) == len({entry.source.fingerprint() for entry in dataset}) == 12


def test_pixels_are_those_that_were_written_in_any_order(shards: Path, photographs: Photographs) -> None:
    entries = open_dataset(shards).of("train")
    for number in (5, 0, 3, 2):
        y, x = 10 * (number // 3), 10 * (number % 3)
        assert np.array_equal(entries[number].pixels(10**8), photographs["astronaut"][y : y + 250, x : x + 260])


def test_rows_travel_to_other_processes_and_are_cut_into_patches(shards: Path, tmp_path: Path) -> None:
    entries = open_dataset(shards).of("train")
    assert pickle.loads(pickle.dumps(entries)) == entries
    patches = cut_patches(entries * 12, CLASSES, Geometry(), tmp_path / "cache", max_pixels=10**8, processes=2)
    assert np.bincount(patches.images).tolist() == [4] * 72


def test_a_single_file_and_the_names_that_the_hub_uses_open_as_well(shards: Path) -> None:
    assert len(open_dataset(shards / "data" / "val-00000-of-00001.parquet")) == 3
    converted = shards / "default" / "partial-train"
    converted.mkdir(parents=True)
    (shards / "data" / "test-00000.parquet").rename(converted / "0000.parquet")
    assert [len(open_dataset(shards).of(split)) for split in ("train", "val", "test")] == [9, 3, 0]


def test_a_file_that_names_no_split_is_refused(shards: Path) -> None:
    (shards / "data" / "test-00000.parquet").rename(shards / "data" / "testing.parquet")
    with pytest.raises(SetupError, match=r"testing\.parquet does not name its split; call it train-…\.parquet"):
        open_dataset(shards)


def test_a_row_without_a_label_is_refused(shards: Path) -> None:
    file = shards / "data" / "test-00000.parquet"
    table = parquet.read_table(file)
    unlabelled = table.set_column(1, table.field("label"), [[0, None, 1]])
    parquet.write_table(unlabelled, file)
    with pytest.raises(SetupError, match=r"test-00000\.parquet:1: label is None, which has no name"):
        open_dataset(shards)


def test_files_of_other_columns_are_refused(shards: Path) -> None:
    table = parquet.read_table(shards / "data" / "test-00000.parquet")
    parquet.write_table(table.drop_columns("label"), shards / "data" / "test-00000.parquet")
    with pytest.raises(SetupError, match=r"test-00000\.parquet has 0 columns of the feature ClassLabel"):
        open_dataset(shards)
    (shards / "data" / "test-00000.parquet").write_bytes(b"PAR1, but not really")
    with pytest.raises(SetupError, match=r"test-00000\.parquet is not a readable Parquet file"):
        open_dataset(shards)


def test_a_row_that_only_names_a_file_is_refused_when_it_is_read(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    rows = {"image": [{"bytes": None, "path": "elsewhere.jpg"}], "label": [0]}
    table = datasets.Dataset.from_dict(rows, features=features).with_format("arrow")[:]
    parquet.write_table(table, tmp_path / "train-0.parquet")
    (entry,) = open_dataset(tmp_path)
    with pytest.raises(SetupError, match="has no bytes, only a file name"):
        entry.read()


def test_a_manifest_may_be_parquet(make_folder: MakeFolder, tmp_path: Path) -> None:
    make_folder()
    table = pytest.importorskip("pyarrow.csv").read_csv(tmp_path / "list.csv")
    parquet.write_table(table, tmp_path / "list.parquet")
    assert open_dataset(tmp_path / "list.parquet").entries == open_dataset(tmp_path / "list.csv").entries
