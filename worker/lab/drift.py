"""Drift: whether a period's scores, decisions and generators differ from those of a reference period.

The same comparison as `dashboard.drift`, for any two periods and by scipy; a test compares the two. Scores are compared
as histograms, whose bins are finer towards 0 and 1, where most scores lie.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, false_discovery_control

from worker.store import Arrivals, CategoryCount, DriftGroup

SCORE_EDGES = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5,
    0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999,
)  # fmt: skip
"""Borders between the bins of scores, as `susy.score_bin` has them; a score on a border belongs to the upper bin."""
EXPECTED_CHECKS = 5.0
"""Categories of which fewer checks are expected in the smaller sample are tested together."""


class DriftStatus(StrEnum):
    """What a comparison says."""

    DRIFTED = "drifted"
    """The difference is neither chance nor small."""
    STABLE = "stable"
    TOO_FEW = "too_few"
    """Too few checks in the period or in the reference for a test."""
    INCOMPARABLE = "incomparable"
    """The reference has only checks by other weights, precisions, tilings or policy versions."""
    NEW_SOURCE = "new_source"
    """The reference has no checks of this source at all."""
    SILENT = "silent"
    """Of arrivals: the source has stopped sending."""


@dataclass(frozen=True)
class Limits:
    """When a difference counts."""

    false_discovery_rate: float = 0.01
    """Share of the reported differences that may be chance, 0..1 (Benjamini and Hochberg)."""
    minimum_psi: float = 0.02
    """Smallest population stability index that is reported. By convention, 0.1 is a moderate change of the whole; a
    generator whose share grows from 5 to 10 % of the images changes scores by 0.035."""
    minimum_checks: int = 200
    """In the period and in the reference."""


@dataclass(frozen=True, eq=False)
class Differences:
    """How N pairs of samples differ; arrays [N]."""

    psi: NDArray[np.float64]
    """Population stability index: Σ (p − q) ln(p / q) over the categories' shares p and q; 0 or more."""
    chi_squared: NDArray[np.float64]
    degrees: NDArray[np.int64]
    p_value: NDArray[np.float64]
    """Of the chi-squared test of homogeneity, 0..1."""


@dataclass(frozen=True)
class Drift:
    """One source's scores, decisions or generators, compared."""

    group: DriftGroup
    checks: int
    reference_checks: int
    status: DriftStatus
    psi: float | None = None
    """None without a test, as all that follows."""
    chi_squared: float | None = None
    degrees: int | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    risen: str | None = None
    """The category whose share has risen most."""
    risen_share: float | None = None
    risen_reference_share: float | None = None


def differences(seen: ArrayLike, before: ArrayLike) -> Differences:
    """Compare the counts `seen` and `before`, [N, K] for K categories; both sums of every pair are above 0."""
    seen, before = np.asarray(seen, np.float64), np.asarray(before, np.float64)
    total = seen + before
    all_seen, all_before = seen.sum(-1, keepdims=True), before.sum(-1, keepdims=True)
    is_there = total > 0
    # Half a check is added to every category, so that one that is empty in one of the samples has a finite part.
    kinds = 0.5 * is_there.sum(-1, keepdims=True)
    p, q = (seen + 0.5) / (all_seen + kinds), (before + 0.5) / (all_before + kinds)
    psi = np.where(is_there, (p - q) * np.log(p / q), 0).sum(-1)

    is_rare = total * np.minimum(all_seen, all_before) < EXPECTED_CHECKS * (all_seen + all_before)
    rare_seen, rare_before = (np.where(is_rare, counts, 0).sum(-1, keepdims=True) for counts in (seen, before))
    seen = np.concatenate([np.where(is_rare, 0, seen), rare_seen], -1)
    before = np.concatenate([np.where(is_rare, 0, before), rare_before], -1)
    total = seen + before
    terms = (seen * all_before - before * all_seen) ** 2 / (np.where(total > 0, total, 1) * all_seen * all_before)
    chi_squared = terms.sum(-1)
    degrees = (total > 0).sum(-1) - 1
    p_value = np.where(degrees > 0, chi2.sf(chi_squared, np.maximum(degrees, 1)), 1.0)
    return Differences(psi, chi_squared, degrees, p_value)


def find_drift(counts: Iterable[CategoryCount], limits: Limits = Limits()) -> list[Drift]:
    """Compare what belongs to the period with what belongs to the reference, group by group.

    `counts` come in the order of their groups. A group has checks of one source by the same weights, precision and
    tiling, and of decisions and generators by the same policy version: nothing else is ever compared. All tests are
    corrected together. Groups without checks in the period are left out.
    """
    groups = [(group, list(members)) for group, members in groupby(counts, lambda count: count.group)]
    referenced = {(group.source, group.measure) for group, members in groups if any(count.before for count in members)}
    found = [_compared(group, members, limits, referenced) for group, members in groups]
    found = [drift for drift in found if drift.checks]
    tested = [place for place, drift in enumerate(found) if drift.p_value is not None]
    if not tested:
        return found
    adjusted = false_discovery_control([found[place].p_value for place in tested], method="bh")
    for place, p_value in zip(tested, adjusted.tolist(), strict=True):
        drift = found[place]
        has_drifted = p_value < limits.false_discovery_rate and (drift.psi or 0) >= limits.minimum_psi
        status = DriftStatus.DRIFTED if has_drifted else DriftStatus.STABLE
        found[place] = replace(drift, adjusted_p_value=p_value, status=status)
    return found


def arrivals_status(arrivals: Arrivals, false_discovery_rate: float) -> DriftStatus:
    """Whether a source has stopped: its silence is neither chance nor shorter than an earlier one."""
    if arrivals.adjusted_p_value is None:
        return DriftStatus.TOO_FEW
    is_unusual = arrivals.adjusted_p_value < false_discovery_rate
    is_longest = arrivals.silent_days > arrivals.longest_silent_days
    return DriftStatus.SILENT if is_unusual and is_longest else DriftStatus.STABLE


def category_name(measure: str, category: str) -> str:
    """A category as people read it: the range of a bin of scores, a decision, or a generator."""
    if measure == "score":
        borders = (0.0, *SCORE_EDGES, 1.0)
        return f"{borders[int(category)]:g}–{borders[int(category) + 1]:g}"
    return category or "without a generator"


def week_before(day: date) -> date:
    """The Monday of the last week that was over on `day`."""
    return date.fromordinal(day.toordinal() - day.weekday() - 7)


def _compared(
    group: DriftGroup, members: list[CategoryCount], limits: Limits, referenced: set[tuple[str, str]]
) -> Drift:
    seen, before = np.array([[count.seen, count.before] for count in members], np.float64).T
    checks, reference_checks = int(seen.sum()), int(before.sum())
    if not reference_checks:
        is_known = (group.source, group.measure) in referenced
        return Drift(group, checks, 0, DriftStatus.INCOMPARABLE if is_known else DriftStatus.NEW_SOURCE)
    if min(checks, reference_checks) < limits.minimum_checks:
        return Drift(group, checks, reference_checks, DriftStatus.TOO_FEW)
    found = differences(seen[None], before[None])
    rises = seen / checks - before / reference_checks
    most = int(rises.argmax())
    return Drift(
        group,
        checks,
        reference_checks,
        DriftStatus.STABLE,
        psi=float(found.psi[0]),
        chi_squared=float(found.chi_squared[0]),
        degrees=int(found.degrees[0]),
        p_value=float(found.p_value[0]),
        risen=members[most].category,
        risen_share=float(seen[most] / checks),
        risen_reference_share=float(before[most] / reference_checks),
    )
