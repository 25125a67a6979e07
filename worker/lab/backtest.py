"""What a policy would have decided about the scans in the ledger: flips, review load, and errors where people reviewed.

No image is read and nothing is scored or written. A scan whose map the policy would have completed is decided by the
tiles that were scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date

from schema.states import Decision
from schema.verdict import Verdict
from worker.lab.decide_again import decide_again
from worker.lab.flips import Flip
from worker.lab.intervals import exact_interval
from worker.policy.policy import Policy
from worker.store import DecidedScan


@dataclass(frozen=True)
class Share:
    """A share of reviewed checks, with its exact interval."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """0..1; None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """0..1 each; None of nothing."""
        if not self.of:
            return None
        return exact_interval(self.count, self.of)


@dataclass
class Agreement:
    """How the decision `synthetic` of one policy compares with what people said was synthetic or authentic."""

    pairs: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    """(called synthetic, is synthetic) → checks."""

    @property
    def precision(self) -> Share:
        """Of those called synthetic, the ones that are."""
        found = self.pairs[True, True]
        return Share(found, found + self.pairs[True, False])

    @property
    def recall(self) -> Share:
        """Of those that are synthetic, the ones called so."""
        found = self.pairs[True, True]
        return Share(found, found + self.pairs[False, True])

    @property
    def false_positive_rate(self) -> Share:
        """Of those that are authentic, the ones called synthetic."""
        wrong = self.pairs[True, False]
        return Share(wrong, wrong + self.pairs[False, False])


@dataclass
class Backtest:
    """The comparison of the verdicts in the ledger with those of one policy."""

    policy: Policy
    checks: int = 0
    flips: Counter[Flip] = field(default_factory=Counter)
    decisions_before: Counter[Decision] = field(default_factory=Counter)
    decisions_after: Counter[Decision] = field(default_factory=Counter)
    days: set[date] = field(default_factory=set)
    """Days (UTC) on which checks were accepted."""
    reviews_before: int = 0
    """Checks whose verdict asks for a review."""
    reviews_after: int = 0
    reviewed: int = 0
    """Checks that a person has called synthetic or authentic."""
    before: Agreement = field(default_factory=Agreement)
    after: Agreement = field(default_factory=Agreement)

    def add(self, decided: DecidedScan, verdict: Verdict) -> None:
        """Count one check, about whose scan the policy decides `verdict`."""
        self.checks += 1
        self.days.add(decided.created_at.date())
        self.decisions_before[decided.decision] += 1
        self.decisions_after[verdict.decision] += 1
        self.reviews_before += decided.needs_review
        self.reviews_after += verdict.needs_review
        if verdict.decision is not decided.decision:
            self.flips[Flip(decided.source, decided.generator, decided.decision, verdict.decision)] += 1
        if decided.review in (Decision.SYNTHETIC, Decision.AUTHENTIC):
            self.reviewed += 1
            is_synthetic = decided.review is Decision.SYNTHETIC
            self.before.pairs[decided.decision is Decision.SYNTHETIC, is_synthetic] += 1
            self.after.pairs[verdict.decision is Decision.SYNTHETIC, is_synthetic] += 1


def backtest(
    policy: Policy, batches: Iterable[list[DecidedScan]], advance: Callable[[int], None] = lambda _count: None
) -> Backtest:
    """Decide every scan of `batches` by `policy`; `advance` is called with how many were decided."""
    result = Backtest(policy)
    for batch in batches:
        for decided, verdict in zip(batch, decide_again(batch, policy), strict=True):
            result.add(decided, verdict)
        advance(len(batch))
    return result
