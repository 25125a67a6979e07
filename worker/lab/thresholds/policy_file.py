"""A calibrated policy as a TOML file that `susy policy put` takes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from worker.errors import printable
from worker.lab.thresholds.calibrate import Calibrated
from worker.lab.thresholds.tables import shown_rate


def policy_file(calibrated: Calibrated) -> str:
    """The whole policy, each key written out, under comments that say how its thresholds were found."""
    policy = calibrated.policy
    found = [
        f"Policy {policy.version}, by `susy calibrate` from {calibrated.base.version}.",
        *(f"{each.key} {each.threshold:.4f}: {each.goal}, on {each.labels:,} contents." for each in calibrated.chosen),
        "Measured on contents that had no part in the choice:",
        f"authentic images called synthetic: {shown_rate(calibrated.measured.false_positive_rate)};",
        f"synthetic images called synthetic: {shown_rate(calibrated.measured.recall)};",
        f"synthetic images not called authentic: {shown_rate(calibrated.measured.not_missed)}.",
        *(f"{name}: {value}" for name, value in calibrated.labels.facts.items()),
        *calibrated.labels.warnings,
    ]
    comments = [line for text in found for line in textwrap.wrap(printable(text), 116)]
    keys = [f"{key} = {_toml(value)}" for key, value in policy.document.items() if value is not None]
    return "\n".join([*(f"# {line}" for line in comments), "", *keys, ""])


def _toml(value: Any) -> str:
    """A value as TOML writes it on one line; its strings are those of JSON."""
    if isinstance(value, Mapping):
        return (
            "{ "
            + ", ".join(f"{_toml(str(key))} = {_toml(each)}" for key, each in value.items() if each is not None)
            + " }"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
