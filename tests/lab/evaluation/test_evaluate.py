import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.labelled import TINTS, TREATMENT, entry, tinted
from worker.errors import ErrorCode, SetupError
from worker.lab.dataset.entries import Dataset, Entry
from worker.lab.evaluation import tables
from worker.lab.evaluation.alterations import Variant
from worker.lab.evaluation.bootstrap import Bootstrap
from worker.lab.evaluation.calibration import calibrate
from worker.lab.evaluation.evaluate import Evaluation, evaluate
from worker.lab.evaluation.items import Declarations, Level, Options
from worker.lab.evaluation.report import report
from worker.lab.evaluation.scorer import Scorer
from worker.lab.evaluation.tables import document, images_csv

QUICK = Options(TREATMENT, bootstrap=Bootstrap(50))


def tinted_entries(split: str, *, wrong: int = 1, count: int = 3) -> list[Entry]:
    """`count` images of each tint, and `wrong` red ones labelled green, which the network calls authentic."""
    made = [
        entry(
            f"{split}/{label}-{number}.png",
            tinted(label, share=0.55 + 0.1 * number, corner=20 * number),
            label,
            split=split,
            dataset="phones" if label == "authentic" else "generators",
        )
        for label in TINTS
        for number in range(count)
    ]
    errors = [
        entry(f"{split}/wrong-{number}.png", tinted("authentic", corner=30 * number), "green", split=split)
        for number in range(wrong)
    ]
    return [*made, *errors]


def dataset(*entries: Entry) -> Dataset:
    return Dataset(Path("somewhere/photographs"), entries)


@pytest.fixture(scope="module")
def whole(tint: Scorer) -> Evaluation:
    """Validation and test, all variants, an image that is too small, an unreadable one, a declared origin."""
    entries = [
        *tinted_entries("val"),
        *tinted_entries("test"),
        entry("test/small.png", tinted("green", side=100), "green"),
        entry("test/<broken>.png", b"\x89PNG\r\n\x1a\n", "green"),
        entry("test/false.png", tinted("blue"), "real-web", dataset="web"),
    ]
    options = replace(
        QUICK,
        treatment=replace(TREATMENT, variants=tuple(Variant)),
        declared=Declarations(authentic=("real-web",)),
        skip_unreadable=True,
    )
    return evaluate(dataset(*entries), tint, options)


@pytest.fixture(scope="module")
def page(whole: Evaluation) -> str:
    return report(whole)


def test_the_figures_of_a_known_data_set_are_as_expected(whole: Evaluation) -> None:
    of_images = whole.plain.levels[Level.IMAGE]
    figures = of_images.at_half.figures
    assert (of_images.count, of_images.authentic, of_images.synthetic) == (11, 4, 7)
    assert figures["accuracy"].value == pytest.approx(9 / 11)
    assert figures["recall"].value == pytest.approx(6 / 7)
    assert figures["false_positive_rate"].value == pytest.approx(1 / 4)
    assert of_images.recognition is not None
    assert of_images.recognition.count == 10
    assert of_images.recognition.accuracy.value == pytest.approx(9 / 10)
    assert {(row.dataset, row.label): row.at_half.value for row in of_images.recalls} == {
        ("phones", "authentic"): 1,
        ("web", "real-web"): 0,
        ("generators", "green"): 1,
        ("generators", "blue"): 1,
        ("green", "green"): 0,
    }


def test_images_without_a_score_are_counted_and_not_in_the_figures(whole: Evaluation) -> None:
    assert [of.name for of in whole.plain.too_small] == ["test/small.png"]
    assert [item.entry.name for item in whole.unreadable] == ["test/<broken>.png"]
    downscaled = next(of for of in whole.variants if of.variant is Variant.DOWNSCALED)
    assert (downscaled.scored, len(downscaled.too_small)) == (0, 12)
    assert downscaled.levels[Level.IMAGE].at_half.figures["f1"].value is None


def test_thresholds_are_chosen_on_validation_images_when_there_are_some(whole: Evaluation, tint: Scorer) -> None:
    best = whole.plain.levels[Level.IMAGE].at_best
    alone = evaluate(dataset(*tinted_entries("val")), tint, replace(QUICK, split="val"))
    there = alone.plain.levels[Level.IMAGE].at_best
    assert best is not None
    assert there is not None
    assert (best.chosen_on, best.threshold) == ("val", there.threshold)
    assert "10 scored, 0 under 224 px, 0 unreadable" in tables.best_thresholds(whole).note
    assert "optimistic" not in tables.best_thresholds(whole).note
    assert there.chosen_on == "val"
    assert "the images of val" in tables.best_thresholds(alone).note


def test_without_validation_images_the_best_threshold_is_marked_as_optimistic(tint: Scorer) -> None:
    found = evaluate(dataset(*tinted_entries("test")), tint, QUICK)
    best = found.plain.levels[Level.IMAGE].at_best
    assert best is not None
    assert best.chosen_on == "test"
    assert "optimistic" in tables.best_thresholds(found).note
    assert "there is no val split" in found.calibration_note


def test_validation_images_of_one_kind_choose_no_threshold(tint: Scorer) -> None:
    val = [of for of in tinted_entries("val", wrong=0) if of.label != "authentic"]
    found = evaluate(dataset(*val, *tinted_entries("test")), tint, QUICK)
    assert not found.validated
    assert found.plain.levels[Level.IMAGE].at_best is not None


def test_calibration_is_reported_before_and_after_a_temperature_fitted_on_validation_images(whole: Evaluation) -> None:
    before, after = whole.calibration
    assert (before.what, before.result.temperature) == ("without temperature", 1.0)
    assert after.what == "fitted on val"
    assert after.result.count == 10  # tiles of a class of the weights
    assert after.result.negative_log_likelihood < before.result.negative_log_likelihood
    assert whole.calibration_note == ""


def test_a_data_set_of_authentic_images_only_has_a_false_positive_rate(tint: Scorer) -> None:
    entries = [entry(f"{number}", tinted("authentic", corner=9 * number), "mine") for number in range(8)]
    found = evaluate(dataset(*entries), tint, replace(QUICK, declared=Declarations(authentic=("mine",))))
    table = tables.false_positives(found)
    assert [row[1:5] for row in table.rows] == [("image", "mine", "8", "8"), ("patch", "mine", "8", "8")]
    assert table.rows[0][5].startswith("0.000 [0.000, 0.3")
    assert found.plain.levels[Level.IMAGE].at_best is None
    assert report(found)


def test_a_split_without_images_is_named_with_those_there_are(tint: Scorer) -> None:
    with pytest.raises(SetupError, match=r"no image in the split test; there is train \(2\)") as caught:
        evaluate(dataset(*tinted_entries("train", wrong=2, count=0)), tint, QUICK)
    assert caught.value.code is ErrorCode.DATA_INVALID


def test_labels_of_the_validation_split_must_be_known_too(tint: Scorer) -> None:
    other = entry("val/odd.png", tinted("green"), "odd", split="val")
    with pytest.raises(SetupError, match="odd: not among the weights' classes"):
        evaluate(dataset(other, *tinted_entries("test")), tint, QUICK)


def test_every_table_says_what_its_rows_count(whole: Evaluation) -> None:
    made = (
        tables.detection(whole),
        tables.recognition(whole),
        tables.best_thresholds(whole),
        tables.by_class(whole),
        tables.recalls(whole),
        tables.false_positives(whole),
    )
    for table in made:
        column = table.columns.index("per")
        assert {row[column] for row in table.rows} == {"image", "patch"}, table.title
        assert all(len(row) == len(table.columns) for row in table.rows), table.title
    assert [row[0] for row in tables.detection(whole).rows] == [str(of) for of in Variant for _ in range(2)]


def test_the_document_is_json_with_every_figure(whole: Evaluation) -> None:
    loaded = json.loads(json.dumps(document(whole), allow_nan=False))
    assert loaded["weights"]["classes"] == list(TINTS)
    assert loaded["data"]["name"] == "photographs"
    assert loaded["variants"]["jpeg"]["parameters"] == "JPEG of quality 75, 4:2:0"
    image = loaded["variants"]["original"]["image"]
    assert image["at_half"]["figures"]["accuracy"]["value"] == pytest.approx(9 / 11)
    assert image["answers"]["columns"] == list(TINTS)
    assert loaded["unreadable"][0]["name"] == "test/<broken>.png"


def test_the_csv_has_a_line_per_image_and_variant(whole: Evaluation) -> None:
    lines = list(csv.DictReader(io.StringIO(images_csv(whole))))
    assert len(lines) == 4 * 13
    assert len({(line["variant"], line["name"]) for line in lines}) == len(lines)
    originals = {line["name"]: line for line in lines if line["variant"] == "original"}
    false = originals["test/false.png"]
    assert (false["outcome"], false["answer"], false["label"]) == ("scored", "blue", "real-web")
    assert float(false["score"]) == pytest.approx(1 - float(false["p(authentic)"]), abs=2e-6)
    assert originals["test/small.png"]["outcome"] == "too_small"
    assert not originals["test/small.png"]["score"]
    assert originals["test/<broken>.png"]["outcome"] == "unreadable"


def test_the_report_is_one_file_that_shows_false_positives_first(page: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page
    assert page.index("test/false.png") < page.index("test/wrong-0.png")
    assert page.count("data:image/jpeg") == 2
    assert "test/&lt;broken&gt;.png" in page
    assert "test/<broken>.png" not in page
    for title in ("Detection at threshold 0.5", "reliability", "roc", "confusion", "1 images under 224 px"):
        assert title in page


def test_the_same_evaluation_makes_the_same_page(whole: Evaluation, page: str) -> None:
    assert report(whole) == page


def test_a_program_cannot_be_calibrated(tint: Scorer) -> None:
    with pytest.raises(SetupError, match="cannot store a temperature") as caught:
        calibrate(dataset(*tinted_entries("val")), tint, replace(QUICK, split="val"))
    assert caught.value.code is ErrorCode.WEIGHTS_INVALID
