"""Undo an application of a policy: the verdicts that it replaced count again, whatever policies they were decided by.

Only checks that stand as the application left them are touched, so that a run that was interrupted resumes when it is
repeated. An undo is an application itself, and can be undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from schema.verdict import PolicyVersion
from worker.lab.flips import Flip
from worker.store import AppliedVerdict

Restore = Callable[[list[AppliedVerdict]], set[UUID]]
"""Restores the verdicts that some verdicts replaced; the checks of which it did."""


@dataclass
class Undone:
    """What became of the checks that an application had decided again."""

    checks: int = 0
    """Checks whose verdict it had replaced."""
    restored: int = 0
    """Those that have their earlier verdict again, or would have in a dry run."""
    reviewed: int = 0
    """Those that were left alone because a person has decided about them."""
    decided_again: int = 0
    """Those that were left alone because they were decided again since."""
    undone_before: int = 0
    """Those that had their earlier verdict already."""
    flips: Counter[Flip] = field(default_factory=Counter)
    """Restored verdicts whose decision differs."""
    policies: Counter[PolicyVersion] = field(default_factory=Counter)
    """What the restored verdicts were decided by."""

    @property
    def changed(self) -> int:
        """Checks whose decision changed."""
        return sum(self.flips.values())


def all_of(verdicts: list[AppliedVerdict]) -> set[UUID]:
    """The `Restore` of a dry run, which writes nothing."""
    return {verdict.check_id for verdict in verdicts}


def undo_application(
    batches: Iterable[list[AppliedVerdict]],
    restore: Restore = all_of,
    *,
    reviewed: bool = False,
    advance: Callable[[int], None] = lambda _count: None,
) -> Undone:
    """Hand the verdicts that still stand as they were applied to `restore`, one batch at a time."""
    result = Undone()
    for batch in batches:
        standing = []
        for verdict in batch:
            if verdict.is_undone:
                result.undone_before += 1
            elif not verdict.is_live:
                result.decided_again += 1
            elif verdict.is_reviewed and not reviewed:
                result.reviewed += 1
            else:
                standing.append(verdict)
        result.checks += len(batch)
        restored = restore(standing) if standing else set()
        # What another process decided, or a person reviewed, since the batch was read.
        result.decided_again += len(standing) - len(restored)
        for verdict in standing:
            if verdict.check_id in restored:
                _count(result, verdict)
        advance(len(batch))
    return result


def _count(result: Undone, verdict: AppliedVerdict) -> None:
    result.restored += 1
    result.policies[verdict.replaced_policy] += 1
    if verdict.replaced_decision is not verdict.decision:
        result.flips[Flip(verdict.source, verdict.generator, verdict.decision, verdict.replaced_decision)] += 1
