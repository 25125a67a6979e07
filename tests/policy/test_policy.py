"""Policies: what a file may say, and what its version stands for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from schema.states import Decision
from worker.errors import ErrorCode, SetupError
from worker.policy.policy import OutOfScope, Policy, default_policy, load_policy

MINIMAL = 'name = "strict"\nsynthetic_at = 0.8\nauthentic_below = 0.2\n'


def _write(folder: Path, text: str, name: str = "policy.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_default_policy_sends_everything_that_is_not_authentic_to_a_person() -> None:
    policy = default_policy()
    assert policy.review == {Decision.SYNTHETIC, Decision.INCONCLUSIVE}
    assert policy.synthetic_at - policy.authentic_below >= 0.5


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("synthetic_at = 1.5", "synthetic_at"),
        ('rule = "maybe"', "rule"),
        ("minimum_tiles = 0", "minimum_tiles"),
        ("minimum_tiles = 6", "minimum_tiles"),
        ('localize = "sometimes"', "localize"),
        ('review = ["everything"]', "review"),
        ("synthetc_at = 0.9", "synthetc_at: there is no such key; correct its name, or remove it"),
        ("authentic_below = 0.9", "authentic_below"),
        ('name = "No Spaces"', "name"),
        ("top_fraction = 0", "top_fraction"),
        ("trim_fraction = 0.5", "trim_fraction"),
        ("region_minimum_area = 2", "region_minimum_area"),
        ("generators = { sd3 = { synthetic_at = 0.1 } }", "sd3"),
        ("generators = { sd3 = {} }", "generators.sd3"),
        ("generators = { sd3 = { synthetic_at = 7 } }", "generators.sd3.synthetic_at"),
        (r'generators = { "a\u0000" = { synthetic_at = 0.9 } }', "NUL character"),
        ("out_of_scope = { tiles_disagree = true }", "out_of_scope.tiles_disagree"),
        ("out_of_scope = { tiles_disagree = 0 }", "out_of_scope.tiles_disagree"),
        ("out_of_scope = { likely_resised = 3 }", "out_of_scope.likely_resised: there is no such key"),
    ],
)
def test_an_invalid_policy_is_refused_by_file_and_key(tmp_path: Path, line: str, key: str) -> None:
    kept = [row for row in MINIMAL.splitlines() if not row.startswith(line.split(" ", maxsplit=1)[0] + " ")]
    path = _write(tmp_path, "\n".join([*kept, line]))
    with pytest.raises(SetupError) as raised:
        load_policy(path)
    assert raised.value.code is ErrorCode.POLICY_INVALID
    assert str(path) in raised.value.message
    assert key in raised.value.message
    assert "\n" not in raised.value.message


def test_a_file_that_is_no_toml_or_not_there_is_refused_by_name(tmp_path: Path) -> None:
    for path in (_write(tmp_path, "name = "), tmp_path / "absent.toml"):
        with pytest.raises(SetupError, match=str(path)):
            load_policy(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name = '\xff'", "is not UTF-8"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"minimum_tiles = " + b"9" * 5000, "is not valid TOML"),
        (b"name = '\x00'", "is not valid TOML"),
        (b"#" * 1_000_001, "is larger than 1000000 bytes"),
    ],
)
def test_a_file_that_cannot_be_a_policy_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(SetupError, match=reason) as raised:
        load_policy(path)
    assert raised.value.code is ErrorCode.POLICY_INVALID
    assert raised.value.message.isprintable()


@pytest.mark.parametrize("kind", ["device", "pipe", "socket"])
def test_what_is_not_a_regular_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    with pytest.raises(SetupError, match=f"it is a (named )?{kind}"):
        load_policy(path)


def test_a_changed_copy_has_a_version_of_its_own() -> None:
    policy = Policy(name="a", synthetic_at=0.9, authentic_below=0.1)
    version = policy.version
    changed = policy.model_copy(update={"synthetic_at": 0.8})
    assert changed.document["synthetic_at"] == 0.8
    assert changed.version == Policy(name="a", synthetic_at=0.8, authentic_below=0.1).version != version


def test_versions_that_were_made_before_keys_were_added_stay_the_same() -> None:
    """Digests of documents that were written before there was evidence out of scope."""
    former = default_policy().model_copy(update={"out_of_scope": OutOfScope()})
    assert str(former.version) == "default@e397dee2315f"
    assert str(Policy(name="a", synthetic_at=0.9, authentic_below=0.1, review=frozenset()).version) == "a@6267f6db2180"
    stated = Policy.model_validate({**default_policy().complete_document})
    assert stated == default_policy()
    assert stated.version == default_policy().version


def test_the_version_follows_the_meaning_not_the_spelling(tmp_path: Path) -> None:
    plain = load_policy(_write(tmp_path, MINIMAL))
    spelled_out = load_policy(_write(tmp_path, "# a comment\n" + MINIMAL + 'rule = "sum"\n'))
    other = load_policy(_write(tmp_path, MINIMAL.replace("0.8", "0.81")))
    assert plain.version == spelled_out.version
    assert plain.version != other.version
