"""`susy evaluate`, `susy calibrate` and `susy stability` on real files and real weights."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from tests.support.commands import Susy
from tests.support.labelled import TINTS, TintNetwork, tinted
from tests.support.released import random_susy, save_script
from worker.detector.weights import load_weights, save_weights
from worker.lab.evaluation.alterations import ALTERATIONS

pytestmark = pytest.mark.usefixtures("forked_programs")


@pytest.fixture
def command_variables() -> dict[str, str]:
    return {"SUSY_THREADS": "1"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class with val and test, three images each."""
    folder = tmp_path_factory.mktemp("images")
    for label in TINTS:
        for split in ("val", "test"):
            for number in range(3):
                file = folder / label / split / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(
                    tinted(label, share=0.4 + 0.2 * number, corner=10 * number + 5 * (split == "test"))
                ).save(file)
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
    susy: Susy, images: Path, program: Path, tmp_path: Path
) -> None:
    result = susy(
        "evaluate", images, "--weights", program, "--classes", ",".join(TINTS), "--variants", "original,jpeg",
        "--bootstrap", "20", "--out", "result",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert "Detection at threshold 0.5" in result.stdout
    assert "result/report.html" in result.stderr
    assert {file.name for file in (tmp_path / "result").iterdir()} == {"report.html", "evaluation.json", "images.csv"}
    saved = json.loads((tmp_path / "result" / "evaluation.json").read_text())
    assert saved["variants"]["original"]["image"]["recognition"]["accuracy"]["value"] == 1
    with (tmp_path / "result" / "images.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == 18


def test_evaluate_prints_one_object_when_asked_for_json(
    susy: Susy, images: Path, program: Path, tmp_path: Path
) -> None:
    result = susy(
        "evaluate", images, "--weights", program, "--classes", ",".join(TINTS), "--bootstrap", "0", "--json",
        "--rule", "argmax", "--patches", "all",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert json.loads(line) == json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert json.loads(line)["options"]["patches"] == "all"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--variants", "original,webp"], "--variants webp: it is one of original, jpeg, downscaled, down_up"),
        (["--patches", "0"], "--patches 0: write a number of 1 or more, or all"),
        (["--split", "train"], "no image in the split train; there is test (9), val (9)"),
        (["--alias", "green"], "--alias green: write LABEL=CLASS"),
        (["--synthetic", "odd"], "no image is labelled odd"),
        (["--classes", "authentic,green"], "--classes names 2 classes"),
        (["--classes", "authentic,green,red"], "blue: not among the weights' classes"),
        (["--out", "/dev/null/here"], "cannot be a folder for results"),
    ],
)
def test_evaluate_refuses_what_it_cannot_do(
    susy: Susy, arguments: list[str], words: str, images: Path, program: Path
) -> None:
    classes = [] if "--classes" in arguments else ["--classes", ",".join(TINTS)]
    result = susy("evaluate", images, "--weights", program, *classes, *arguments)
    assert result.code == 2
    assert words in result.stderr
    assert not result.stdout


def test_an_unreadable_image_ends_the_evaluation_unless_it_may_be_skipped(
    susy: Susy, program: Path, tmp_path: Path
) -> None:
    for label in TINTS:
        (tmp_path / "data" / label / "test").mkdir(parents=True)
        Image.fromarray(tinted(label)).save(tmp_path / "data" / label / "test" / "good.png")
    (tmp_path / "data" / "green" / "test" / "bad.png").write_bytes(b"no image")
    command = ("evaluate", tmp_path / "data", "--weights", program, "--classes", ",".join(TINTS), "--bootstrap", "0")
    refused = susy(*command)
    assert refused.code == 2
    assert "green/test/bad.png" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    skipped = susy(*command, "--skip-unreadable", "--json")
    assert skipped.code == 0, skipped.stderr
    document = json.loads(skipped.stdout)
    assert [item["name"] for item in document["unreadable"]] == ["green/test/bad.png"]
    assert document["variants"]["original"]["scored"] == 3


def test_evaluate_follows_the_settings_and_the_policy_of_the_worker(
    susy: Susy, images: Path, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "strict.toml").write_text(
        'name = "strict"\nrule = "argmax"\naggregate = "max"\nsynthetic_at = 0.9\nauthentic_below = 0.1\n'
    )
    settings = {"SUSY_POLICY_FILE": str(tmp_path / "strict.toml"), "SUSY_TILING": "reference"}
    command = ("evaluate", images, "--weights", program, "--classes", ",".join(TINTS), "--bootstrap", "0", "--json")
    options = susy(*command, **settings).document["options"]
    assert (options["rule"], options["aggregate"], options["tiling"]) == ("argmax", "max", "reference-224")
    assert susy(*command, "--rule", "sum", **settings).document["options"]["rule"] == "sum"
    refused = susy(*command, SUSY_MAX_PIXELS="50000")
    assert refused.code == 2
    assert "cannot be decoded" in refused.stderr


def test_calibrate_writes_weights_that_answer_at_the_fitted_temperature(
    susy: Susy, images: Path, weights: Path, tmp_path: Path
) -> None:
    target = tmp_path / "calibrated.safetensors"
    result = susy("calibrate", images, "--weights", weights, "--to", target, "--json")
    assert result.code == 0, result.stderr
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


def test_calibrate_refuses_a_program(susy: Susy, images: Path, program: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.safetensors"
    result = susy("calibrate", images, "--weights", program, "--to", target)
    assert result.code == 2
    assert "cannot store a temperature" in result.stderr
    assert not target.exists()


def test_halved_weights_stay_halved_and_calibrate_says_before_and_after(
    susy: Susy, images: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "half.safetensors", tmp_path / "calibrated.safetensors"
    save_weights(source, random_susy(3), name="half", version="1", classes=TINTS, provenance={}, dtype=torch.float16)
    result = susy("calibrate", images, "--weights", source, "--to", target)
    assert result.code == 0, result.stderr
    assert "expected calibration error" in result.stdout
    assert result.stdout.count("→") >= 4
    assert abs(target.stat().st_size - source.stat().st_size) < 2000
    (model, _), (original, _) = load_weights(target), load_weights(source)
    assert torch.equal(model.fc3.weight, original.fc3.weight)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A folder with one image."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    Image.fromarray(astronaut()[:224, :224]).save(folder / "a.png")
    return folder


def test_stability_names_what_it_skips_and_reports_the_rest(
    susy: Susy, uploads: Path, weights: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (100, 100)).save(uploads / "small.png")
    (uploads / "broken.png").write_bytes((uploads / "a.png").read_bytes()[:500])
    odd = os.fsdecode(b"odd-\xff.png")
    (uploads / odd).write_bytes((uploads / "small.png").read_bytes())
    result = susy("stability", uploads.name, "--weights", weights, "--json")
    assert result.code == 1
    assert "broken.png: truncated" in " ".join(result.stderr.split())
    document = json.loads(result.stdout)
    assert (document["images"], document["scored"], document["not_scored"], document["unreadable"]) == (3, 1, 2, 1)
    assert document["model"]["name"] == "random"
    assert len(document["alterations"]) == len(ALTERATIONS)
    assert (tmp_path / "stability" / "report.html").is_file()
    assert "odd-%FF.png" in (tmp_path / "stability" / "scores.csv").read_text()


def test_stability_prints_a_row_per_alteration(susy: Susy, uploads: Path, weights: Path) -> None:
    lines = susy("stability", uploads, "--weights", weights, "--out", "out").stdout.splitlines()
    assert len(lines) == 1 + len(ALTERATIONS) + 1
    assert lines[1].split()[:3] == ["jpeg", "40", "1"]
    assert lines[-1].startswith("1 scored. ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["empty"], "empty has no image"),
        (["uploads", "--weights", "nowhere.safetensors"], "nowhere.safetensors does not exist"),
        (["uploads", "--weights", "demo", "--policy", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["uploads", "--weights", "demo", "--out", "uploads/a.png"], "cannot be a folder"),
    ],
)
@pytest.mark.usefixtures("uploads")
def test_stability_refuses_a_wrong_setup_before_anything_is_scored(
    susy: Susy, arguments: list[str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    result = susy("stability", *arguments)
    assert result.code == 2
    assert words in result.stderr


def test_calibrate_writes_a_policy_that_can_be_stored_and_a_report(
    susy: Susy, images: Path, weights: Path, tmp_path: Path
) -> None:
    command = ("calibrate", images, "--weights", weights, "--name", "tints", "--json")
    refused = susy(*command, "--max-fpr", "0.01")
    assert refused.code == 2
    assert "needs at least 299 authentic contents and has 3; label 592 more" in refused.stderr
    assert not refused.stdout
    result = susy(*command, "--max-fpr", "0.7", "--min-recall", "0.5", "--to", tmp_path / "calibrated.safetensors")
    assert result.code == 0, result.stderr
    document = result.document
    assert document["files"] == {"policy": "calibration/tints.toml", "report": "calibration/report.html"}
    assert document["labels"]["choice"] == {"authentic": 3, "synthetic": 6, "stand_for": 9.0}
    assert document["temperature"] > 0
    assert susy("policy", "check", "calibration/tints.toml").stdout.strip().endswith(document["policy"]["version"])
    assert "Rates, on contents that had no part in the choice" in susy(*command[:-1], "--max-fpr", "0.7").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what the thresholds are for"),
        (["--max-fpr", "1.5"], "--max-fpr 1.5: it is a share above 0 and below 1"),
        (["--max-fpr", "0.5", "--policy", "absent.toml"], "absent.toml cannot be read"),
        (["--max-fpr", "0.5", "--out", "/dev/null/here"], "cannot be a folder for results"),
        (["--max-fpr", "0.5", "--name", "Not A Name"], "--name"),
    ],
)
def test_calibrate_refuses_what_it_cannot_do(
    susy: Susy, arguments: list[str], words: str, images: Path, weights: Path
) -> None:
    result = susy("calibrate", images, "--weights", weights, *arguments)
    assert result.code == 2
    assert words in result.stderr
    assert not result.stdout
