from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import typer
from skimage.data import astronaut

from schema.scan import Tiling
from schema.states import Decision
from tests.lab.evaluation.test_stability import Brightness, policy
from tests.support.workplace import random_weights
from worker.cli.stability import stability
from worker.errors import ErrorCode, SetupError
from worker.lab.evaluation.stability import Judge, Look, Trace
from worker.lab.evaluation.stability_alterations import ALTERATIONS
from worker.lab.evaluation.stability_report import stability_document, worst_cards, write_report
from worker.lab.evaluation.stability_summary import summarize

__all__ = ["random_weights"]

JUDGE = Judge(Brightness(), policy(), Tiling(), 10_000_000, 10_000_000)


def trace(path: Path, as_is: float, farthest: float, decision: Decision = Decision.AUTHENTIC) -> Trace:
    """Moves under the last alteration alone; the first does not apply, the second leaves it too small."""
    same = Look(as_is, Decision.AUTHENTIC)
    others = (None, Look(None, Decision.INCONCLUSIVE), *[same] * (len(ALTERATIONS) - 3), Look(farthest, decision))
    return Trace(path, same, others)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "<b>&photograph.png"
    PIL.Image.fromarray(astronaut()[:256, :300]).save(path)
    return path


def test_a_report_is_one_page_without_links_beside_its_figures(photograph: Path, tmp_path: Path) -> None:
    traces = [
        trace(photograph, 0.1, 0.95, Decision.SYNTHETIC),
        Trace(photograph, Look(None, Decision.INCONCLUSIVE), ()),
    ]
    summary = summarize(traces, 1)
    page = write_report(tmp_path, summary, traces, JUDGE).read_text()
    assert "&lt;b&gt;&amp;photograph.png" in page
    assert not re.findall(r"""(?:src|href)="(?!data:)""", page)
    assert page.count("data:image/") == 1 + 6 + 1  # effects, a curve a family, one card
    assert json.loads((tmp_path / "stability.json").read_text()) == stability_document(summary, JUDGE)
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert len(rows) == 1 + len(ALTERATIONS) - 1 + 1
    assert rows[0] == {
        "path": str(photograph), "family": "as is", "setting": "", "score": "0.1", "decision": "authentic",
    }  # fmt: skip
    assert (rows[1]["score"], rows[1]["decision"]) == ("", "inconclusive")
    assert (rows[-2]["family"], rows[-2]["score"], rows[-2]["decision"]) == ("thumbnail", "0.95", "synthetic")


def test_flips_come_before_larger_moves_and_images_that_stay_are_not_shown(photograph: Path) -> None:
    stays, moves, flips = (
        trace(photograph, 0.1, 0.1),
        trace(photograph, 0.0, 0.9),
        trace(photograph, 0.1, 0.9, Decision.SYNTHETIC),
    )
    cards = worst_cards([stays, moves, flips], JUDGE)
    assert [(card.as_is, card.flips) for card in cards] == [("0.100", 1), ("0.000", 0)]
    assert cards[0].farthest_by == str(ALTERATIONS[-1])
    assert cards[0].compared == len(ALTERATIONS) - 2


def test_a_report_of_no_images_says_so(tmp_path: Path) -> None:
    page = write_report(tmp_path, summarize([], 3), [], JUDGE).read_text()
    assert "3 unreadable and skipped" in page


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"stability\.json") as caught:
        write_report(tmp_path / "file", summarize([], 0), [], JUDGE)
    assert caught.value.code is ErrorCode.DISK_FULL


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one image to judge; no setting of this machine holds, and results land beside it."""
    for name in [name for name in os.environ if name.startswith("SUSY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SUSY_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    PIL.Image.fromarray(astronaut()[:224, :224]).save(folder / "a.png")
    return folder


def test_the_command_names_what_it_skips_and_reports_the_rest(
    images: Path, random_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PIL.Image.new("RGB", (100, 100)).save(images / "small.png")
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:500])
    with pytest.raises(typer.Exit) as ended:
        stability([images], weights=str(random_weights), json=True)
    assert ended.value.exit_code == 1
    printed = capsys.readouterr()
    assert "broken.png: truncated" in " ".join(printed.err.split())
    document = json.loads(printed.out)
    assert (document["images"], document["scored"], document["not_scored"], document["unreadable"]) == (2, 1, 1, 1)
    assert document["model"]["name"] == "random"
    assert len(document["alterations"]) == len(ALTERATIONS)
    assert Path("stability", "report.html").is_file()


def test_for_people_the_command_prints_a_row_an_alteration(
    images: Path, random_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stability([images], weights=str(random_weights), folder=Path("out"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(ALTERATIONS) + 1
    assert lines[1].split()[:3] == ["jpeg", "40", "1"]
    assert lines[-1].startswith("1 scored. ")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"images": [Path("empty")]}, "empty holds no image"),
        ({"weights": "nowhere.safetensors"}, r"nowhere\.safetensors is not there"),
        ({"weights": "demo", "policy": Path("nowhere.toml")}, r"nowhere\.toml cannot be read"),
        ({"weights": "demo", "folder": Path("images/a.png")}, "cannot be a folder"),
    ],
)
def test_a_wrong_setup_ends_before_anything_is_scored(options: dict[str, Any], word: str, images: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(SetupError, match=word):
        stability(**{"images": [images], **options})
