from __future__ import annotations

from pathlib import Path

import pytest

from schema.gate import GateAnswer
from tests.support.checkout import DOCS
from tests.support.documentation import fenced
from worker.errors import ConfigurationError, ErrorCode
from worker.serve.gate.rules import GateRules


def rules(tmp_path: Path, text: str) -> GateRules:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    return GateRules.load(path)


def test_the_built_in_rules_hold_what_is_not_known() -> None:
    rule = GateRules.load(None).of("anything")
    assert (rule.deadline, rule.late, rule.failed, rule.yes_or_no) == (10, "hold", "hold", "refuse")
    assert (rule.authentic, rule.synthetic, rule.inconclusive) == ("allow", "refuse", "hold")


def test_a_source_has_from_the_default_what_it_does_not_say(tmp_path: Path) -> None:
    found = rules(tmp_path, '[default]\nlate = "refuse"\ndeadline = "2s"\n[sources.avatars]\ndeadline = "500ms"\n')
    assert (found.of("avatars").deadline, found.of("avatars").late) == (0.5, GateAnswer.REFUSE)
    assert (found.of("other").deadline, found.of("other").late) == (2, GateAnswer.REFUSE)


def test_the_documented_file_says_what_holds_without_one(tmp_path: Path) -> None:
    (block,) = fenced(DOCS / "gate.md", "toml")
    found = rules(tmp_path, block)
    assert found.default == GateRules.load(None).default
    assert (found.of("avatars").deadline, found.of("avatars").late) == (3, "allow")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[default]\nlate = "perhaps"\n', "default.late"),
        ('[sources.avatars]\nyes_or_no = "hold"\n', "sources.avatars.yes_or_no"),
        ('[sources.avatars]\ndeadline = "2h"\n', "sources.avatars.deadline"),
        ('[sources.avatars]\nlatr = "hold"\n', "sources.avatars.latr"),
        ('late = "hold"\n', "late"),
        ("sources = 7\n", "sources"),
        ("default = 7\n[sources.a]\n", "default"),
        ("[", "TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match="SUSY_GATE_FILE") as refused:
        rules(tmp_path, text)
    assert refused.value.code is ErrorCode.SETTINGS
    assert named in refused.value.message


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent"):
        GateRules.load(tmp_path / "absent.toml")
