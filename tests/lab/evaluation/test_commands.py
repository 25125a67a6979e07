"""`susy evaluate` and `susy calibrate`, as a user runs them, on real files and real weights."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.support.labelled import TINTS, TintNetwork, tinted
from tests.support.released import random_susy, save_script
from worker.cli.main import app
from worker.detector.weights import load_weights, save_weights
from worker.errors import SetupError


def susy(*arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SUSY_")}
    return subprocess.run(
        [sys.executable, "-m", "worker", *map(str, arguments)],
        env=clean | {"SUSY_DEVICE": "cpu", "SUSY_THREADS": "1", "OMP_NUM_THREADS": "1"} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class with val and test, three images each."""
    folder = tmp_path_factory.mktemp("images")
    for label in TINTS:
        for split in ("val", "test"):
            for number in range(3):
                file = folder / label / split / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(tinted(label, share=0.4 + 0.2 * number, corner=10 * number)).save(file)
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_script(tmp_path_factory.mktemp("program") / "tint.pt", TintNetwork())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    save_weights(path, random_susy(3), name="random", version="1", classes=TINTS, provenance={"made": "here"})
    return path


def test_evaluate_prints_tables_and_saves_report_figures_and_scores(
    images: Path, program: Path, tmp_path: Path
) -> None:
    result = susy(
        "evaluate", images, "--weights", program, "--classes", ",".join(TINTS), "--variants", "original,jpeg",
        "--bootstrap", "20", "--out", "result", folder=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Detection at threshold 0.5" in result.stdout
    assert "result/report.html" in result.stderr
    assert {file.name for file in (tmp_path / "result").iterdir()} == {"report.html", "evaluation.json", "images.csv"}
    saved = json.loads((tmp_path / "result" / "evaluation.json").read_text())
    assert saved["variants"]["original"]["image"]["recognition"]["accuracy"]["value"] == 1
    with (tmp_path / "result" / "images.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == 18


def test_evaluate_prints_one_object_when_asked_for_json(images: Path, program: Path, tmp_path: Path) -> None:
    result = susy(
        "evaluate", images, "--weights", program, "--classes", ",".join(TINTS), "--bootstrap", "0", "--json",
        "--rule", "argmax", "--patches", "all", folder=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert json.loads(line) == json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert json.loads(line)["options"]["patches"] == "all"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--variants", "original,webp"], "--variants webp: it is one of original, jpeg, downscaled, down_up"),
        (["--patches", "0"], "--patches 0: write a number from 1 on, or all"),
        (["--split", "train"], "no image in the split train; there is test (9), val (9)"),
        (["--alias", "green"], "--alias green: write LABEL=CLASS"),
        (["--synthetic", "odd"], "no image is labelled odd"),
        (["--classes", "authentic,green"], "--classes names 2 classes"),
        (["--classes", "authentic,green,red"], "blue: not among the weights' classes"),
        (["--out", "/dev/null/here"], "cannot be a folder for results"),
    ],
)
def test_evaluate_refuses_what_it_cannot_do(
    arguments: list[str], words: str, images: Path, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUSY_DEVICE", "cpu")
    classes = [] if "--classes" in arguments else ["--classes", ",".join(TINTS)]
    result = CliRunner().invoke(app, ["evaluate", str(images), "--weights", str(program), *classes, *arguments])
    assert isinstance(result.exception, SetupError)
    assert words in result.exception.message
    assert not result.stdout


def test_an_unreadable_image_ends_the_evaluation_unless_it_may_be_skipped(program: Path, tmp_path: Path) -> None:
    for label in TINTS:
        (tmp_path / "data" / label / "test").mkdir(parents=True)
        Image.fromarray(tinted(label)).save(tmp_path / "data" / label / "test" / "good.png")
    (tmp_path / "data" / "green" / "test" / "bad.png").write_bytes(b"no image")
    command = ("evaluate", tmp_path / "data", "--weights", program, "--classes", ",".join(TINTS), "--bootstrap", "0")
    refused = susy(*command, folder=tmp_path)
    assert refused.returncode == 2
    assert "green/test/bad.png" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    skipped = susy(*command, "--skip-unreadable", "--json", folder=tmp_path)
    assert skipped.returncode == 0, skipped.stderr
    document = json.loads(skipped.stdout)
    assert [item["name"] for item in document["unreadable"]] == ["green/test/bad.png"]
    assert document["variants"]["original"]["scored"] == 3


def test_calibrate_writes_weights_that_answer_at_the_fitted_temperature(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    target = tmp_path / "calibrated.safetensors"
    result = susy("calibrate", images, "--weights", weights, "--to", target, "--json", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    model, info = load_weights(target)
    _, before = load_weights(weights)
    assert model.temperature == document["temperature"] != 1
    assert info.sha256 == document["weights"]["sha256"] != before.sha256
    assert info.provenance["made"] == "here"
    assert info.provenance["calibration"]["uncalibrated_sha256"] == before.sha256
    assert [of["split"] for of in document["splits"]] == ["val", "test"]
    fitted = document["splits"][0]
    assert (fitted["too_small"], fitted["unreadable"]) == (0, 0)
    assert fitted["after"]["negative_log_likelihood"] <= fitted["before"]["negative_log_likelihood"]
    assert document["suggestions"][0]["why"] == "needs authentic images of at least 100 pictures, there are 3"


def test_calibrate_refuses_a_program(images: Path, program: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.safetensors"
    result = CliRunner().invoke(app, ["calibrate", str(images), "--weights", str(program), "--to", str(target)])
    assert isinstance(result.exception, SetupError)
    assert "cannot carry a temperature" in result.exception.message
    assert not target.exists()


def test_halved_weights_stay_halved_and_calibrate_says_before_and_after(images: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "half.safetensors", tmp_path / "calibrated.safetensors"
    save_weights(source, random_susy(3), name="half", version="1", classes=TINTS, provenance={}, dtype=torch.float16)
    result = susy("calibrate", images, "--weights", source, "--to", target, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "expected calibration error" in result.stdout
    assert result.stdout.count("→") >= 4
    assert abs(target.stat().st_size - source.stat().st_size) < 2000
    (model, _), (original, _) = load_weights(target), load_weights(source)
    assert torch.equal(model.fc3.weight, original.fc3.weight)
