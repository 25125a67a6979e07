"""Why a policy decided as it did: what each rule looked at, as JSON and as sentences. The same rules that decide."""

from __future__ import annotations

from typing import Any

from schema.scan import Scan
from schema.states import Reason
from schema.verdict import Region
from worker.policy.policy import Aggregation, Policy, Rule
from worker.policy.rules import Case, Comparison, Finding, findings

_LOOKED_AT = {
    Reason.TOO_SMALL: "the number of scored tiles",
    Reason.TOO_FEW_TILES: "the number of scored tiles",
    Reason.LOW_CONTRAST: "the highest contrast of a tile",
    Reason.HEAVILY_RECOMPRESSED: "the JPEG quality",
    Reason.LIKELY_RESIZED: "the strongest period of interpolation",
    Reason.LIKELY_ILLUSTRATION: "the share of the 16 most frequent colors",
    Reason.TILES_DISAGREE: "the difference between the highest and the lowest tile",
    Reason.SYNTHETIC_REGION: "the strongest region of the map",
}
_OF_SCORE = (Reason.ABOVE_SYNTHETIC_AT, Reason.BETWEEN_THRESHOLDS, Reason.BELOW_AUTHENTIC_BELOW)
_AGGREGATED = {
    Aggregation.MEAN: "the mean",
    Aggregation.MEDIAN: "the median",
    Aggregation.MAX: "the highest",
    Aggregation.TRIMMED_MEAN: "the trimmed mean",
    Aggregation.TOP_FRACTION: "the mean of the highest {top:.0%}",
}
_DIGITS = 6


def explain(scan: Scan, policy: Policy, regions: tuple[Region, ...]) -> dict[str, Any]:
    """The rules of `policy` in their order, with the number and the threshold of each, and which one decided.

    `regions` are those of the verdict. The rules after the deciding one are listed too, for what they would have said.
    `holds` is null where the number was not measured; such a rule decides nothing.
    """
    case = Case(scan, policy)
    found = list(findings(case, regions))
    decisive = next(finding for finding in found if finding.holds)
    synthetic = 1 - case.tiles[:, 0]
    return {
        "policy": {"name": policy.name, "version": policy.version.version},
        "decision": str(decisive.decision),
        "decided_by": str(decisive.reason),
        "rule": str(policy.rule),
        "aggregate": str(policy.aggregate),
        "tile_scores": [round(float(score), 4) for score in synthetic],
        "score": round(case.evidence, _DIGITS) if len(synthetic) else None,
        "rules": [_document(finding, decides=finding is decisive) for finding in found],
    }


def sentences(explanation: dict[str, Any], policy: Policy) -> list[str]:
    """The explanation for people, one sentence per rule as far as the deciding one."""
    name = policy.version
    scores = explanation["tile_scores"]
    lines = []
    if scores:
        number = "one tile" if len(scores) == 1 else f"{len(scores)} tiles"
        how = _AGGREGATED[policy.aggregate].format(top=policy.top_fraction)
        of = "any generator" if policy.rule is Rule.SUM else "the strongest generator against authentic"
        shown = ", ".join(f"{score:.3f}" for score in scores)
        lines.append(f"The score is {explanation['score']:.3f}: {how} of {number} ({shown}), for {of}.")
    for rule in explanation["rules"]:
        lines.append(_sentence(rule))
        if rule["decides"]:
            lines.append(f"Hence {name} decides {rule['decision']}, with the reason {rule['rule']}.")
            break
    return lines


def _document(finding: Finding, *, decides: bool) -> dict[str, Any]:
    return {
        "rule": str(finding.reason),
        "value": None if finding.value is None else round(finding.value, _DIGITS),
        "comparison": str(finding.comparison),
        "threshold": finding.threshold,
        "generator": finding.generator,
        "holds": finding.holds,
        "decision": str(finding.decision),
        "decides": decides,
    }


def _sentence(rule: dict[str, Any]) -> str:
    reason = Reason(rule["rule"])
    if reason is Reason.ANIMATED_FIRST_FRAME_ONLY:
        said = {True: "has frames that were not examined", False: "has one frame", None: "may have other frames"}
        return f"{reason}: the file {said[rule['holds']]}."
    what = "the score" if reason in _OF_SCORE else _LOOKED_AT[reason]
    if rule["generator"] is not None:
        what += f", by the thresholds for {rule['generator']},"
    if rule["holds"] is None:
        return f"{reason}: {what} was not measured, so this decides nothing."
    value, threshold = f"{rule['value']:.4g}", f"{rule['threshold']:.4g}"
    if rule["comparison"] == Comparison.BELOW:
        return f"{reason}: {what} is {value}, {'below' if rule['holds'] else 'not below'} {threshold}."
    return f"{reason}: {what} is {value}, {'at least' if rule['holds'] else 'less than'} {threshold}."
