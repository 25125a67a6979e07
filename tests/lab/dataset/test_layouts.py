from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worker.errors import ErrorCode, SetupError
from worker.lab.dataset.entries import Dataset
from worker.lab.dataset.layouts import open_dataset

from .conftest import MakeFolder


def labels(dataset: Dataset) -> list[tuple[str, str]]:
    return [(entry.label, entry.split) for entry in dataset]


def refused(path: Path) -> str:
    with pytest.raises(SetupError) as error:
        open_dataset(path)
    assert error.value.code is ErrorCode.DATA_INVALID
    return error.value.message


def test_a_folder_per_class_gives_entries_named_by_their_path(make_folder: MakeFolder) -> None:
    folder = make_folder()
    dataset = open_dataset(folder)
    assert dataset.labels == ("authentic", "dull")
    assert [entry.name for entry in dataset.of("val")] == [f"{c}/val/{n}.png" for c in dataset.labels for n in (0, 1)]
    for entry in dataset:
        assert np.array_equal(entry.pixels(10**8), np.asarray(Image.open(folder / entry.name)))
        assert (entry.dataset, entry.picture) == (entry.label, entry.name)


def test_validation_is_another_name_of_val_and_hidden_files_are_ignored(make_folder: MakeFolder) -> None:
    folder = make_folder()
    expected = labels(open_dataset(folder))
    for label in ("authentic", "dull"):
        (folder / label / "val").rename(folder / label / "validation")
    (folder / "dull" / "train" / ".DS_Store").touch()
    (folder / ".cache").mkdir()
    assert labels(open_dataset(folder)) == expected


def test_split_folders_may_come_first(make_folder: MakeFolder, tmp_path: Path) -> None:
    dataset = open_dataset(make_folder())
    for entry in dataset:
        target = tmp_path / "other" / entry.split / entry.label / Path(entry.name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.path / entry.name, target)
    assert sorted(labels(open_dataset(tmp_path / "other"))) == sorted(labels(dataset))


def test_a_folder_that_is_not_a_data_set_is_refused_by_name(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    assert f"there is no data set at {tmp_path / 'nowhere'}" in refused(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    assert "bare has no class folders" in refused(tmp_path / "bare")
    (folder / "third").mkdir()
    assert "third is empty: it has no train, val or test" in refused(folder)
    (folder / "third" / "train").mkdir()
    assert "third/train is empty; add images or remove the folder" in refused(folder)
    (folder / "third" / "train").rename(folder / "third" / "training")
    assert "third/training is not a split; name it train, val or test" in refused(folder)
    assert "0.png is not a data set" in refused(folder / "dull" / "val" / "0.png")


def test_a_manifest_names_class_split_and_picture_relative_to_itself(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    listed, found = open_dataset(tmp_path / "list.csv"), open_dataset(folder)
    assert sorted(labels(listed)) == sorted(labels(found))
    entry = listed.of("test")[1]
    assert (entry.label, entry.dataset, entry.picture) == ("dull", "dull", "test-0")
    assert np.array_equal(entry.pixels(10**8), np.asarray(Image.open(tmp_path / entry.name)))


def test_a_manifest_in_a_folder_takes_precedence_over_its_folders(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "manifest.csv").write_text(
        "\ufeffsplit,path,dataset,class\nvalidation,dull/test/0.png,photographs,other\n", encoding="utf-8"
    )
    (entry,) = open_dataset(folder)
    assert (entry.label, entry.split, entry.dataset) == ("other", "val", "photographs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,split\na.png,train\n", "lacks the column class; add it"),
        ("", "lacks the column class, path, split"),
        ("path,class,split\n", "lists no image"),
        (
            "path,class,split\na.png,x,train\nb.png,x,holdout\n",
            "row 3: 'holdout' is not a split; write train, val or test",
        ),
        ("path,class,split\na.png,,train\n", "row 2: class is empty; fill it in"),
        ("path,class,split\na.png,x\n", "row 2: split is empty; fill it in"),
        ("path,class,split\na.png,x,train\na.png,x,train\n", "row 3: a.png is listed twice"),
        ("path,class,split\na.png,x,train\na.png,x,test\n", "row 3: a.png is listed for train and for test"),
    ],
)
def test_a_faulty_manifest_is_refused_by_row_and_column(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    assert message in refused(tmp_path / "list.csv")


def test_a_manifest_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"path,class,split\n\xff\xfe\n")
    assert "list.csv is not a readable CSV file" in refused(tmp_path / "list.csv")


def test_nothing_is_read_when_a_data_set_is_opened(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,class,split\nmissing.png,x,train\n")
    (entry,) = open_dataset(tmp_path / "list.csv")
    with pytest.raises(SetupError, match=r"missing\.png cannot be read \(No such file or directory\); restore"):
        entry.pixels(10**8)
    with pytest.raises(SetupError, match=r"missing\.png cannot be read"):
        entry.source.fingerprint()
