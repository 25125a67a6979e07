"""From labelled scores to a policy file and a report."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.lab.evaluation.rows import scored_rows
from tests.lab.thresholds.simulated import Population
from tests.support.labelled import Encoded
from worker.errors import SetupError
from worker.lab.dataset.entries import Entry
from worker.lab.evaluation.items import Items
from worker.lab.thresholds.calibrate import Calibrated, Labels, calibrate
from worker.lab.thresholds.from_images import labelled
from worker.lab.thresholds.goals import Goals
from worker.lab.thresholds.labelled import split_in_half
from worker.lab.thresholds.policy_file import policy_file
from worker.lab.thresholds.report import write_report
from worker.lab.thresholds.tables import document
from worker.policy.policy import GeneratorThresholds, Policy, default_policy, load_policy

HOSTILE = '<img src=x onerror="alert(1)">\n"""\x1b[31m'


def drawn(population: Population, **labels: object) -> Labels:
    choice, report = split_in_half(population.draw(np.random.default_rng(3)))
    return Labels(choice, report, {"labels": HOSTILE}, **labels)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def calibrated() -> Calibrated:
    labels = drawn(Population(6000, 0.2, avatars=0.5, drawn=0.2), representative=True, warnings=(HOSTILE,))
    return calibrate(labels, Goals(max_fpr=0.05, min_recall=0.9, precision=0.6), default_policy(), "uploads")


def test_the_policy_keeps_everything_but_its_thresholds_and_its_file_is_that_version(
    calibrated: Calibrated, tmp_path: Path
) -> None:
    policy = calibrated.policy
    changed = {key for key, value in policy.document.items() if value != calibrated.base.document[key]}
    assert changed == {"name", "synthetic_at", "authentic_below"}
    (tmp_path / "policy.toml").write_text(policy_file(calibrated), encoding="utf-8")
    assert load_policy(tmp_path / "policy.toml").version == policy.version
    assert "\x1b" not in policy_file(calibrated)


def test_the_prevalence_of_a_sample_of_all_uploads_is_measured(calibrated: Calibrated) -> None:
    found = calibrated.prevalence
    assert found is not None
    assert (found.low or 1) <= 0.2 <= (found.high or 0)
    assert calibrated.goals.prevalence == found.value
    assert calibrated.measured.precision.value is not None


def test_each_source_has_its_rates_and_its_own_thresholds_where_its_labels_allow_it(calibrated: Calibrated) -> None:
    posts, avatars = (next(of for of in calibrated.by_source if of.source == name) for name in ("posts", "avatars"))
    assert posts.own
    assert (posts.measured.false_positive_rate.value or 0) > (avatars.measured.false_positive_rate.value or 0)
    few = calibrate(drawn(Population(600, 0.3, avatars=0.05)), Goals(max_fpr=0.1), default_policy())
    assert {of.source: bool(of.own) for of in few.by_source} == {"avatars": False, "posts": True}
    assert re.fullmatch(
        r"needs \d+ authentic contents to choose on, has \d+", next(of.why for of in few.by_source if not of.own)
    )


def test_the_report_is_one_page_in_which_names_are_only_text(calibrated: Calibrated, tmp_path: Path) -> None:
    policy, page = write_report(tmp_path, calibrated)
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=" in text
    assert text.count('<img class="plot"') == 5
    assert not re.search(r'(src|href)="(?!data:image/)', text)
    assert tomllib.loads(policy.read_text(encoding="utf-8"))["synthetic_at"] == calibrated.policy.synthetic_at
    assert document(calibrated)["after"]["false_positive_rate"]["of"] == len(calibrated.labels.report.authentic)


def test_labels_of_one_kind_are_refused() -> None:
    items = Population(100, 0.3).draw(np.random.default_rng(0))
    with pytest.raises(SetupError, match="has no synthetic content"):
        calibrate(Labels(items.authentic, items, {}), Goals(max_fpr=0.1), default_policy())


def test_a_precision_without_a_prevalence_is_refused_unless_the_labels_tell_it() -> None:
    with pytest.raises(SetupError, match="add --prevalence"):
        calibrate(drawn(Population(600, 0.3)), Goals(precision=0.6), default_policy())


def test_images_with_the_same_bytes_count_once_and_must_agree() -> None:
    rows = scored_rows([0.1, 0.2, 0.9], [False, False, True])
    entries = [
        Entry(of.name, of.label, "test", "d", of.picture, Encoded(b"%d" % (n // 2)))
        for n, of in enumerate(rows.entries)
    ]
    same = Items(**{**vars(rows), "entries": tuple(entries)})
    assert labelled(same).scores.tolist() == pytest.approx([0.1, 0.9])
    different = Items(**{**vars(same), "synthetic": np.array([False, True, True])})
    with pytest.raises(SetupError, match=r"0 \(authentic\) and 1 \(authentic\) have the same bytes and contradict"):
        labelled(different)


def test_thresholds_of_generators_stay_and_are_said(tmp_path: Path) -> None:
    base = Policy.model_validate(
        {
            **default_policy().model_dump(),
            "aggregate": "trimmed_mean",
            "trim_fraction": 0.3,
            "generators": {"dalle-3-images": {"synthetic_at": 0.95}},
        }
    )
    found = calibrate(drawn(Population(1500, 0.3)), Goals(max_fpr=0.1), base)
    assert "has thresholds of their own for dalle-3-images" in found.labels.warnings[0]
    (tmp_path / "policy.toml").write_text(policy_file(found), encoding="utf-8")
    assert load_policy(tmp_path / "policy.toml").version == found.policy.version
    narrow = base.model_copy(update={"generators": {"a": GeneratorThresholds(synthetic_at=0.05)}})
    with pytest.raises(SetupError, match="do not fit the policy that is calibrated: policy: generators"):
        calibrate(drawn(Population(1500, 0.3)), Goals(max_fpr=0.1, min_recall=0.8), narrow)
