"""What a policy, or weights, decide about the cases: which of them are fixed, and which regress, image by image.

A decision about a case is right, wrong, or leaves it to a person (`inconclusive`). A case regresses when it becomes
wrong, and is fixed when it no longer is. One that goes from right to a person is neither: it costs a review, not a
mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from schema.states import Decision
from worker.lab.decide_again import decide_scan
from worker.policy.policy import Policy
from worker.store.cases import Case


class Change(StrEnum):
    """The outcome of a case."""

    REGRESSED = "regressed"
    """It becomes wrong."""
    FIXED = "fixed"
    """It was wrong, and no longer is."""
    TO_A_PERSON = "to_a_person"
    """It was right, and becomes inconclusive."""
    DECIDED = "decided"
    """It was inconclusive, and becomes right."""
    STILL_WRONG = "still_wrong"
    STILL_RIGHT = "still_right"
    STILL_INCONCLUSIVE = "still_inconclusive"
    UNKNOWN = "unknown"
    """It cannot be decided: its scan is missing, or its image cannot be read."""
    WITHDRAWN = "withdrawn"
    """Its review was undone, or a later one says inconclusive."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One case, before and after."""

    case: Case
    before: Decision | None
    after: Decision | None
    why: str = ""
    """Why it is unknown."""

    @property
    def change(self) -> Change:
        """The outcome. What was decided before it had a decision counts as right."""
        expected = self.case.expected
        if expected is None:
            return Change.WITHDRAWN
        if self.after is None:
            return Change.UNKNOWN
        return _CHANGES[_standing(self.before, expected), _standing(self.after, expected)]


_CHANGES = {
    ("wrong", "wrong"): Change.STILL_WRONG,
    ("wrong", "right"): Change.FIXED,
    ("wrong", "inconclusive"): Change.FIXED,
    ("right", "wrong"): Change.REGRESSED,
    ("right", "right"): Change.STILL_RIGHT,
    ("right", "inconclusive"): Change.TO_A_PERSON,
    ("inconclusive", "wrong"): Change.REGRESSED,
    ("inconclusive", "right"): Change.DECIDED,
    ("inconclusive", "inconclusive"): Change.STILL_INCONCLUSIVE,
}


def _standing(decision: Decision | None, expected: Decision) -> str:
    if decision is Decision.INCONCLUSIVE:
        return "inconclusive"
    return "right" if decision in (None, expected) else "wrong"


def compare_policies(
    batches: Iterable[list[Case]],
    policy: Policy,
    before: Policy | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[Outcome]:
    """What `policy` decides about the scans of the cases, against `before`, or else against their live verdicts.

    A case whose check has no verdict any more was overridden with the decision that is kept.
    """
    outcomes = []
    for batch in batches:
        for case in batch:
            scan = case.scan
            if scan is None:
                outcomes.append(Outcome(case, None, None, "its scan is missing: the check was pruned"))
                continue
            live = case.overridden if case.decision is None else case.decision
            earlier = live if before is None else decide_scan(scan, before).decision
            outcomes.append(Outcome(case, earlier, decide_scan(scan, policy).decision))
        advance(len(batch))
    return outcomes


def of_change(outcomes: Iterable[Outcome], change: Change) -> list[Outcome]:
    """Those with one change."""
    return [outcome for outcome in outcomes if outcome.change is change]
