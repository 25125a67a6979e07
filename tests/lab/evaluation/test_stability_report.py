from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import PIL.Image
import pytest
from skimage.data import astronaut

from schema.states import Decision
from tests.lab.evaluation.test_stability import examiner, policy
from worker.errors import ErrorCode, SetupError
from worker.lab.evaluation.alterations import ALTERATIONS
from worker.lab.evaluation.stability import ImageOutcomes, Outcome, summarize
from worker.lab.evaluation.stability_report import stability_document, worst_cards, write_report

EXAMINER, POLICY = examiner(), policy()


def outcomes(path: Path, as_is: float, farthest: float, decision: Decision = Decision.AUTHENTIC) -> ImageOutcomes:
    """Moves under the last alteration only; the first does not apply, the second makes it too small."""
    same = Outcome(as_is, Decision.AUTHENTIC)
    others = (None, Outcome(None, Decision.INCONCLUSIVE), *[same] * (len(ALTERATIONS) - 3), Outcome(farthest, decision))
    return ImageOutcomes(path, same, others)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "<b>&photograph.png"
    PIL.Image.fromarray(astronaut()[:256, :300]).save(path)
    return path


def test_a_report_is_one_page_without_links_and_its_figures(photograph: Path, tmp_path: Path) -> None:
    images = [
        outcomes(photograph, 0.1, 0.95, Decision.SYNTHETIC),
        ImageOutcomes(photograph, Outcome(None, Decision.INCONCLUSIVE), ()),
    ]
    summary = summarize(images, 1)
    page = write_report(tmp_path, summary, images, EXAMINER, POLICY).read_text()
    assert "&lt;b&gt;&amp;photograph.png" in page
    assert not re.findall(r"""(?:src|href)="(?!data:)""", page)
    assert page.count("data:image/") == 1 + 6 + 1  # effects, one curve per family, one card
    assert json.loads((tmp_path / "stability.json").read_text()) == stability_document(summary, EXAMINER, POLICY)
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert len(rows) == 1 + len(ALTERATIONS) - 1 + 1
    assert rows[0] == {
        "path": str(photograph), "family": "as is", "setting": "", "score": "0.1", "decision": "authentic",
    }  # fmt: skip
    assert (rows[1]["score"], rows[1]["decision"]) == ("", "inconclusive")
    assert (rows[-2]["family"], rows[-2]["score"], rows[-2]["decision"]) == ("thumbnail", "0.95", "synthetic")


def test_flips_come_before_larger_moves_and_unmoved_images_are_not_shown(photograph: Path) -> None:
    stays, moves, flips = (
        outcomes(photograph, 0.1, 0.1),
        outcomes(photograph, 0.0, 0.9),
        outcomes(photograph, 0.1, 0.9, Decision.SYNTHETIC),
    )
    cards = worst_cards([stays, moves, flips], EXAMINER.max_pixels)
    assert [(card.as_is, card.flips) for card in cards] == [("0.100", 1), ("0.000", 0)]
    assert cards[0].farthest_by == str(ALTERATIONS[-1])
    assert cards[0].compared == len(ALTERATIONS) - 2


def test_a_report_of_no_images_says_so(tmp_path: Path) -> None:
    page = write_report(tmp_path, summarize([], 3), [], EXAMINER, POLICY).read_text()
    assert "3 unreadable and skipped" in page


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"stability\.json") as caught:
        write_report(tmp_path / "file", summarize([], 0), [], EXAMINER, POLICY)
    assert caught.value.code is ErrorCode.DISK_FULL
