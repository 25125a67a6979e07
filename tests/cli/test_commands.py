"""The commands that need no service, as a user runs them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from schema.scan import TILE
from tests.support.commands import Susy

PROMISED = {
    "decision", "score", "class_scores", "generator", "generator_confidence", "reasons", "needs_review",
    "width", "height", "content_sha256", "tiles", "regions", "policy", "model",
}  # fmt: skip


def test_check_prints_one_object_an_image_in_order_and_fails_for_the_broken_alone(
    susy: Susy, images: Path, random_weights: Path
) -> None:
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:500])
    paths = [images / "a.png", images / "broken.png", images / "small.png", images / "absent.png"]
    result = susy("check", "--json", *paths, folder=images, SUSY_WEIGHTS=str(random_weights))
    assert result.code == 1
    documents = result.documents
    assert [document["path"] for document in documents] == [str(path) for path in paths]
    whole, broken, small, absent = documents
    assert whole.keys() >= PROMISED
    assert whole["tiles"]["mode"] == "coverage"
    assert sum(whole["class_scores"].values()) == pytest.approx(1, abs=2e-3)
    assert broken["error"]["code"] == "truncated"
    assert "decision" not in broken
    assert small["reasons"] == ["too_small"]
    assert min(small["width"], small["height"]) < TILE
    assert absent["error"]["code"] == "not_found"


def test_check_walks_folders_and_prints_a_table_for_people(susy: Susy, images: Path, random_weights: Path) -> None:
    result = susy("check", images, folder=images, SUSY_WEIGHTS=str(random_weights))
    assert result.code == 0, result.stderr
    for name in ("a.png", "b.png", "small.png"):
        assert name in result.stdout
    assert "inconclusive" in result.stdout


def test_the_tiling_and_the_policy_come_from_the_settings(susy: Susy, images: Path, random_weights: Path) -> None:
    policy = images / "policy.toml"
    policy.write_text('name = "lenient"\nsynthetic_at = 1.0\nauthentic_below = 1.0\nregion_at = 1.0\n')
    result = susy(
        "check", "--json", images / "b.png", folder=images,
        SUSY_WEIGHTS=str(random_weights), SUSY_POLICY_FILE=str(policy), SUSY_TILING="reference",
    )  # fmt: skip
    document = result.document
    assert document["policy"]["name"] == "lenient"
    assert document["tiles"]["mode"] == "reference"
    assert document["decision"] == "authentic"


def test_a_pinned_policy_with_thresholds_for_a_generator_that_the_weights_do_not_know_is_refused(
    susy: Susy, images: Path, random_weights: Path
) -> None:
    policy = images / "policy.toml"
    policy.write_text(
        'name = "uploads"\nsynthetic_at = 0.9\nauthentic_below = 0.1\n[generators.gamma]\nsynthetic_at = 0.95\n'
    )
    for setting, value in (("SUSY_POLICY_FILE", policy), ("SUSY_POLICY_DIR", images)):
        refused = susy(
            "check", images / "b.png", folder=images, SUSY_WEIGHTS=str(random_weights), **{setting: str(value)}
        )
        assert refused.code == 2
        assert "policy uploads of SUSY_POLICY_FILE or SUSY_POLICY_DIR: generators.gamma: these weights know only" in (
            " ".join(refused.stderr.split())
        )


def test_weights_info_prints_name_classes_parameters_digest_and_provenance(
    susy: Susy, random_weights: Path, images: Path
) -> None:
    result = susy("weights", "info", random_weights, "--json", folder=images)
    facts = result.document
    assert facts["name"] == "random"
    assert facts["classes"][0] == "authentic"
    assert facts["parameters"] == 12_145_974
    assert facts["temperature"] == 1
    assert len(facts["sha256"]) == 64
    assert "provenance" in facts


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("weights", "info", "nowhere.safetensors"), "nowhere.safetensors"),
        (("weights", "import", "nowhere.pt", "--to", "x.safetensors"), "nowhere.pt"),
        (("policy", "show", "nowhere.toml"), "nowhere.toml"),
        (("submit", "a.png"), "SUSY_REDIS_URL"),
        (("show", "00000000-0000-0000-0000-000000000000"), "SUSY_DATABASE_URL"),
        (("db", "upgrade"), "SUSY_DATABASE_URL"),
        (("train", "nowhere.toml"), "nowhere.toml"),
        (("stability", "a.png", "--weights", "nowhere.safetensors"), "nowhere.safetensors"),
    ],
)
def test_a_wrong_setup_is_one_line_on_stderr_and_exit_2(
    susy: Susy, images: Path, arguments: tuple[str, ...], word: str
) -> None:
    result = susy(*arguments, folder=images)
    assert result.code == 2, result.stderr
    assert result.stdout == ""
    assert word in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_doctor_names_everything_that_is_missing(susy: Susy, images: Path) -> None:
    result = susy("doctor", folder=images, SUSY_WEIGHTS="nowhere.safetensors", COLUMNS="200")
    assert result.code == 2
    for part in ("database", "redis", "roots", "weights"):
        (line,) = (line for line in result.stdout.splitlines() if line.startswith(part))
        assert "fails" in line


def test_doctor_checks_the_hooks_file_and_the_policies_and_endpoints_that_it_names(
    susy: Susy, images: Path, tmp_path: Path, database_url: str
) -> None:
    path = tmp_path / "hooks.toml"
    variables = {"SUSY_HOOKS_FILE": str(path), "SUSY_DATABASE_URL": database_url, "COLUMNS": "400"}

    def hooks(**keys: str) -> str:
        lines = ["[[mapping]]", 'location = "s3://uploads/"', *(f'{name} = "{value}"' for name, value in keys.items())]
        path.write_text("\n".join(lines))
        found = susy("doctor", folder=images, **variables).stdout
        return next(line for line in found.splitlines() if line.startswith("hooks"))

    assert "s3://uploads/ is avatars" in hooks(source="avatars")
    assert re.search(r"fails .*mapping\.0\.sorce: there is no such key", hooks(sorce="avatars"))
    assert "the policy 'absent', which does not exist" in hooks(source="avatars", policy="absent")
    assert "the endpoint 'absent', which does not exist" in hooks(source="avatars", endpoint="absent")


def test_doctor_says_when_a_permitted_image_exceeds_the_memory_budget(susy: Susy, images: Path) -> None:
    enough = susy("doctor", folder=images, SUSY_MEMORY="2GB", COLUMNS="200").stdout
    scarce = susy("doctor", folder=images, SUSY_MEMORY="500MB", COLUMNS="200").stdout
    assert "2.0 GB for the images in flight\n" in re.sub(" +\n", "\n", enough)
    assert (
        "0.5 GB for the images in flight; one of SUSY_MAX_PIXELS takes up to 1.8 GB and is then decoded alone" in scarce
    )


def test_the_policy_is_printed_with_every_default_and_its_version(susy: Susy, images: Path) -> None:
    document = susy("policy", "show", folder=images).document
    assert document["name"] == "default"
    assert document["rule"] == "sum"
    assert len(document["version"]) == 12


@pytest.mark.parametrize(
    ("kind", "named"), [("pipe", "a named pipe"), ("link", "a symbolic link"), ("folder", "a folder")]
)
def test_calibrating_refuses_a_target_that_it_may_not_replace_before_it_reads_the_data(
    susy: Susy, random_weights: Path, tmp_path: Path, kind: str, named: str
) -> None:
    target = tmp_path / "target"
    {"pipe": os.mkfifo, "link": lambda path: path.symlink_to(random_weights), "folder": Path.mkdir}[kind](target)
    result = susy("calibrate", tmp_path / "no data", "--weights", random_weights, "--to", target)
    assert result.code == 2
    assert f"is {named}, and only a regular file is replaced" in result.stderr
    assert "no data" not in result.stderr
