"""Decide again: a policy decides about stored scans, and its verdicts take the places of those that count.

No image is read and nothing is scored. Checks whose verdict is by that version already are passed over, so that a run
that was interrupted resumes when it is repeated, and two runs at once do the work of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

from schema.states import Decision
from schema.verdict import PolicyVersion
from worker.lab.decide_again import decide_again
from worker.lab.flips import Flip
from worker.policy.policy import Policy
from worker.store import DecidedScan, Replacement

Replace = Callable[[Mapping[UUID, Replacement]], set[UUID]]
"""Writes the verdicts of some checks; the checks of which it replaced the verdict."""

FindPolicy = Callable[[PolicyVersion], Policy | None]
"""A policy by its version, as the ledger has it; None where this version of the program does not understand it."""


@dataclass
class Applied:
    """The outcome of applying a policy to checks."""

    policy: Policy
    checks: int = 0
    """Checks that were decided again."""
    replaced: int = 0
    """Those whose verdict was replaced, or would have been in a dry run."""
    reviewed: int = 0
    """Those that were left alone because a person has decided about them."""
    flips: Counter[Flip] = field(default_factory=Counter)
    """Replaced verdicts whose decision changed."""
    replaced_policies: Counter[PolicyVersion] = field(default_factory=Counter)
    """What the replaced verdicts were decided by: to apply it again undoes this."""

    @property
    def changed(self) -> int:
        """Checks whose decision changed."""
        return sum(self.flips.values())

    @property
    def overtaken(self) -> int:
        """Checks whose verdict another process replaced, or a person reviewed, in the meantime."""
        return self.checks - self.replaced


class Deciding:
    """Decides again by one policy. Regions, which take longest, are kept where the policy before found the same."""

    def __init__(self, policy: Policy, find_policy: FindPolicy) -> None:
        self._policy = policy
        self._find_policy = find_policy
        self._same_regions: dict[PolicyVersion, bool] = {}

    def __call__(self, checks: Sequence[DecidedScan]) -> list[Replacement]:
        """The verdict about each of the checks."""
        keeps = [check.scan_is_unchanged and self._finds_the_same(check.policy) for check in checks]
        searched = [check for check, kept in zip(checks, keeps, strict=True) if not kept]
        verdicts = decide_again(checks, self._policy, all_regions=searched)
        return [
            Replacement(check.verdict_id, verdict, kept)
            for check, verdict, kept in zip(checks, verdicts, keeps, strict=True)
        ]

    def _finds_the_same(self, version: PolicyVersion) -> bool:
        if version not in self._same_regions:
            before = self._find_policy(version)
            self._same_regions[version] = before is not None and _regions_of(before) == _regions_of(self._policy)
        return self._same_regions[version]


def _regions_of(policy: Policy) -> tuple[object, ...]:
    """All that the regions of a scan depend on."""
    scope = policy.minimum_tiles, policy.minimum_contrast, policy.out_of_scope
    return policy.region_at, policy.generator_share, *scope


def unknown_policy(_version: PolicyVersion) -> None:
    """The `FindPolicy` of a caller that knows no other policy: all regions are looked for."""


def apply_policy(
    policy: Policy,
    batches: Iterable[list[DecidedScan]],
    replace: Replace = set,
    *,
    find_policy: FindPolicy = unknown_policy,
    reviewed: bool = False,
    advance: Callable[[int], None] = lambda _count: None,
) -> Applied:
    """Decide every scan of `batches` by `policy` and hand the verdicts to `replace`, one batch at a time.

    With `set` as `replace` nothing is written: a dry run. A batch is written while the next one is read and decided.
    """
    result, decide = Applied(policy), Deciding(policy, find_policy)
    with ThreadPoolExecutor(1) as writer:
        writing: Future[set[UUID]] | None = None
        before: list[tuple[DecidedScan, Replacement]] = []
        for batch in batches:
            open_checks = [decided for decided in batch if reviewed or decided.review is None]
            result.reviewed += len(batch) - len(open_checks)
            decided = list(zip(open_checks, decide(open_checks), strict=True))
            _count(result, before, writing)
            writing = writer.submit(replace, {check.check_id: replacement for check, replacement in decided})
            before = decided
            advance(len(batch))
        _count(result, before, writing)
    return result


def _count(result: Applied, decided: list[tuple[DecidedScan, Replacement]], writing: Future[set[UUID]] | None) -> None:
    """Wait for a batch to be written, and count its outcome."""
    replaced = set() if writing is None else writing.result()
    result.checks += len(decided)
    for check, replacement in decided:
        if check.check_id not in replaced:
            continue
        result.replaced += 1
        result.replaced_policies[check.policy] += 1
        after: Decision = replacement.verdict.decision
        if after is not check.decision:
            result.flips[Flip(check.source, check.generator, check.decision, after)] += 1
