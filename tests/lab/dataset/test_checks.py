from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from worker.cli.main import app
from worker.errors import ErrorCode, PermanentError, SetupError
from worker.lab.dataset.checks import inspect, refuse_leakage, require_splits, require_trainable
from worker.lab.dataset.layouts import open_dataset

from .conftest import MakeFolder, Photographs


def test_images_are_counted_and_measured(make_folder: MakeFolder, photographs: Photographs) -> None:
    folder = make_folder(count=3)
    Image.fromarray(photographs["astronaut"]).save(folder / "dull" / "test" / "large.jpg")
    Image.fromarray(photographs["coffee"][:239, :500]).save(folder / "dull" / "test" / "low.webp")
    found = inspect(open_dataset(folder), max_pixels=10**8)
    assert found.counts == {
        "authentic": {"train": 3, "val": 3, "test": 3},
        "dull": {"train": 3, "val": 3, "test": 5},
    }
    assert found.sizes == ((250, 250), (250, 250), (512, 512))
    assert found.formats == {"PNG": 18, "JPEG": 1, "WEBP": 1}
    assert found.too_small == ("dull/test/low.webp",)
    assert (dict(found.unreadable), found.duplicates, found.leaks, found.outside_train) == ({}, (), (), ())


def test_all_unreadable_images_are_listed_at_once(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "dull" / "train" / "0.png").write_bytes(b"")
    (folder / "dull" / "train" / "notes.txt").write_text("not an image")
    cut = folder / "authentic" / "val" / "1.png"
    cut.write_bytes(cut.read_bytes()[:-2000])
    (folder / "authentic" / "test" / "1.png").unlink()
    (folder / "authentic" / "test" / "1.png").symlink_to("nowhere")
    found = inspect(open_dataset(folder), max_pixels=10**8)
    assert sorted(found.unreadable) == [
        "authentic/test/1.png",
        "authentic/val/1.png",
        "dull/train/0.png",
        "dull/train/notes.txt",
    ]
    assert "empty" in found.unreadable["dull/train/0.png"]


def test_the_same_bytes_are_found_within_a_split_and_across(make_folder: MakeFolder) -> None:
    folder = make_folder()
    shutil.copy(folder / "dull" / "train" / "0.png", folder / "dull" / "train" / "again.png")
    shutil.copy(folder / "dull" / "train" / "1.png", folder / "authentic" / "test" / "moved.png")
    found = inspect(open_dataset(folder), max_pixels=10**8)
    assert found.duplicates == (("dull/train/0.png", "dull/train/again.png"),)
    (leak,) = found.leaks
    assert {(leak.first.name, leak.first.split), (leak.second.name, leak.second.split)} == {
        ("authentic/test/moved.png", "test"),
        ("dull/train/1.png", "train"),
    }


def test_training_refuses_the_same_bytes_in_two_splits_and_names_both_files(make_folder: MakeFolder) -> None:
    folder = make_folder()
    refuse_leakage(open_dataset(folder))
    shutil.copy(folder / "dull" / "train" / "1.png", folder / "authentic" / "test" / "moved.png")
    with pytest.raises(SetupError, match="same bytes") as refused:
        refuse_leakage(open_dataset(folder))
    assert refused.value.code is ErrorCode.DATA_INVALID
    assert "authentic/test/moved.png (test) and dull/train/1.png (train)" in refused.value.message
    assert "keep each in one split" in refused.value.message


def test_files_of_equal_size_and_different_bytes_do_not_leak(tmp_path: Path) -> None:
    for split, content in (("train", b"one"), ("test", b"two")):
        (tmp_path / "images" / "x" / split).mkdir(parents=True)
        (tmp_path / "images" / "x" / split / "0.png").write_bytes(content)
    refuse_leakage(open_dataset(tmp_path / "images"))


def test_training_refuses_one_picture_in_two_splits_however_it_is_encoded(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    make_folder()
    refuse_leakage(open_dataset(tmp_path / "list.csv"))
    listed = (tmp_path / "list.csv").read_text().replace(",test-1,", ",train-0,")
    (tmp_path / "list.csv").write_text(listed)
    with pytest.raises(SetupError, match=r"show the same picture \(train-0\)"):
        refuse_leakage(open_dataset(tmp_path / "list.csv"))


def test_a_missing_split_or_class_is_named_with_the_remedy(make_folder: MakeFolder) -> None:
    folder = make_folder(splits=("train", "test"))
    with pytest.raises(
        SetupError, match=r"has no image in the split val; there is test \(\d+\), train \(\d+\): add some"
    ):
        require_splits(open_dataset(folder), ("train", "val"))
    for label in ("authentic", "dull"):
        (folder / label / "test").rename(folder / label / "val")
    require_trainable(open_dataset(folder))
    shutil.copytree(folder / "dull" / "val", folder / "held-out" / "test")
    with pytest.raises(SetupError, match=r"class held-out of .* but none in train"):
        require_trainable(open_dataset(folder))
    require_trainable(open_dataset(folder), ("authentic", "dull"))
    with pytest.raises(SetupError, match=r"class held-out of .* has no image in the split train"):
        require_trainable(open_dataset(folder), ("authentic", "held-out"))


def test_the_command_prints_tables_and_exits_0_on_clean_data(make_folder: MakeFolder) -> None:
    folder = make_folder()
    shutil.copytree(folder / "dull" / "val", folder / "held-out" / "val")
    (folder / "dull" / "val" / "0.png").unlink()
    (folder / "dull" / "val" / "1.png").unlink()
    Image.open(folder / "dull" / "test" / "0.png").save(folder / "dull" / "val" / "0.jpg")
    result = CliRunner().invoke(app, ["data", "inspect", str(folder)])
    assert result.exit_code == 0
    assert "held-out" in result.stdout
    assert "PNG" in result.stdout
    assert "classes without images in train: 1" in result.stdout


def test_the_command_refuses_leakage_with_code_and_both_names(make_folder: MakeFolder) -> None:
    folder = make_folder()
    shutil.copy(folder / "dull" / "train" / "1.png", folder / "authentic" / "test" / "moved.png")
    shown = CliRunner().invoke(app, ["data", "inspect", str(folder)])
    assert isinstance(shown.exception, PermanentError)  # which `run` turns into exit code 1
    assert shown.exception.code is ErrorCode.DATA_INVALID
    assert "in two splits: 1" in shown.stdout
    result = CliRunner().invoke(app, ["data", "inspect", str(folder), "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["error"]["code"] == "data_invalid"
    assert {image["name"] for image in document["leaks"][0]["images"]} == {
        "authentic/test/moved.png",
        "dull/train/1.png",
    }
    assert document["counts"]["authentic"] == {"train": 2, "val": 2, "test": 3}


def test_the_command_lists_unreadable_images_and_fails(make_folder: MakeFolder) -> None:
    folder = make_folder()
    for name in ("0.png", "1.png"):
        (folder / "dull" / "train" / name).write_bytes(b"GIF89a")
    result = CliRunner().invoke(app, ["data", "inspect", str(folder), "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [one["name"] for one in document["unreadable"]] == ["dull/train/0.png", "dull/train/1.png"]
    assert "2 images are unreadable, the first dull/train/0.png" in document["error"]["message"]
    (folder / "dull" / "train" / "0.png").unlink()
    result = CliRunner().invoke(app, ["data", "inspect", str(folder), "--json"])
    assert "1 image is unreadable, the first dull/train/1.png" in json.loads(result.stdout)["error"]["message"]
