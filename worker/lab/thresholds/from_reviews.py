"""Labelled scores from what moderators decided about stored scans. No image is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from schema.states import Decision
from worker.errors import ErrorCode, InputDataError
from worker.lab.thresholds.calibrate import Labels
from worker.lab.thresholds.labelled import Labelled, number_groups, split_in_half
from worker.policy.decide import out_of_scope
from worker.policy.policy import Policy
from worker.policy.rules import Case
from worker.store.reviewed import Audited, ReviewedScan

BIASED = (
    "Reviews are of images that a policy sent to people or that people chose: their rates are not those of uploads, "
    "and their false-positive rates are mostly far too high."
)
"""Why reviews that no audit has drawn are used only when they are asked for."""


@dataclass(eq=False)
class _Content:
    """One content, as far as it was read."""

    score: float
    synthetic: bool
    rate: float | None
    """The highest probability with which it was drawn for an audit."""
    source: str
    contradicted: bool = False


@dataclass(eq=False)
class ReviewedContents:
    """Reviewed contents by the weights that scored them, and what was left out."""

    policy: Policy
    by_weights: dict[str, dict[str, _Content]] = field(default_factory=dict)
    """Digest of the weights → digest of the content → what is known. The weights of the latest check are the last."""
    names: dict[str, str] = field(default_factory=dict)
    """Digest of the weights → their name."""
    left_out: Counter[str] = field(default_factory=Counter)
    checks: int = 0

    def add(self, reviewed: ReviewedScan) -> None:
        """Count one check."""
        self.checks += 1
        scan = reviewed.scan
        digest = scan.model.sha256
        contents = self.by_weights.pop(digest, {})
        self.by_weights[digest], self.names[digest] = contents, scan.model.name
        if reviewed.review is Decision.INCONCLUSIVE:
            self.left_out["inconclusive to the reviewer"] += 1
            return
        if out_of_scope(scan, self.policy):
            self.left_out["out of the detector's scope"] += 1
            return
        synthetic = reviewed.review is Decision.SYNTHETIC
        known = contents.get(scan.content_sha256)
        if known is None:
            contents[scan.content_sha256] = _Content(
                Case(scan, self.policy).evidence, synthetic, reviewed.audit_rate, reviewed.source
            )
            return
        known.contradicted |= known.synthetic is not synthetic
        # Whoever draws a content at one rate draws it at every higher one.
        known.rate = max((rate for rate in (known.rate, reviewed.audit_rate) if rate is not None), default=None)


def labels_of_reviews(
    batches: Iterable[list[ReviewedScan]],
    policy: Policy,
    audited: Audited,
    *,
    weights: str | None = None,
    biased: bool = False,
) -> Labels:
    """The scores under `policy` of contents that people called authentic or synthetic, in two halves.

    Only those that an audit has drawn, each weighted by one over the probability of it, unless `biased`: then all
    reviewed contents, each with the weight 1. Scores of different weights are not comparable: `weights` is the
    beginning of a digest, by default that of the latest reviewed check.

    Raises `InputDataError` (`data_invalid`) when there are none, with the remedy.
    """
    found = ReviewedContents(policy)
    for batch in batches:
        for reviewed in batch:
            found.add(reviewed)
    digest = _choose_weights(found, weights)
    contents = found.by_weights[digest]
    others = sum(map(len, found.by_weights.values())) - len(contents)
    contradicted = sum(content.contradicted for content in contents.values())
    usable = {
        name: content
        for name, content in contents.items()
        if not content.contradicted and (biased or content.rate is not None)
    }
    if not usable:
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"of {found.checks:,} reviewed checks none was drawn for an audit: draw some with `susy policy audit`, or "
            f"use biased ones with --all-reviews. {BIASED}",
        )
    items = Labelled(
        np.array([content.score for content in usable.values()]),
        np.array([content.synthetic for content in usable.values()], np.bool_),
        np.array([1.0 if biased or content.rate is None else 1 / content.rate for content in usable.values()]),
        number_groups(list(usable)),
        np.array([content.source for content in usable.values()], np.str_),
    )
    left_out = dict(found.left_out)
    left_out["of other weights"] = others
    left_out["called both authentic and synthetic, in different checks"] = contradicted
    left_out["not drawn for an audit"] = 0 if biased else len(contents) - contradicted - len(usable)
    choice, report = split_in_half(items)
    return Labels(
        choice,
        report,
        {
            "labels": "reviews, all of them" if biased else "reviews of contents that were drawn for audits",
            "reviewed checks": f"{found.checks:,}",
            "contents used": f"{len(usable):,}",
            "left out": "; ".join(f"{count:,} {what}" for what, count in left_out.items() if count) or "nothing",
            "thresholds chosen on": "one half, by content",
            "rates measured on": "the other half",
            "scans by": f"{found.names[digest]}, digest {digest}",
        },
        _warnings(audited, biased=biased),
        representative=not biased,
    )


def _warnings(audited: Audited, *, biased: bool) -> tuple[str, ...]:
    if biased:
        return (BIASED,)
    if audited.reviewed < audited.drawn:
        return (
            f"Of {audited.drawn:,} checks that were drawn for audits {audited.reviewed:,} are reviewed. The rates "
            "assume that the others are like them; they are not if the queue is worked by score: review the rest.",
        )
    return ()


def _choose_weights(found: ReviewedContents, beginning: str | None) -> str:
    if not found.by_weights:
        raise InputDataError(
            ErrorCode.DATA_INVALID, "no reviewed check has a scan here; review some, or widen --since and --source"
        )
    if beginning is None:
        return next(reversed(found.by_weights))
    fitting = [digest for digest in found.by_weights if digest.startswith(beginning)]
    if len(fitting) != 1:
        there = ", ".join(f"{name} {digest[:12]}" for digest, name in found.names.items())
        raise InputDataError(
            ErrorCode.DATA_INVALID, f"--scans-by {beginning}: reviewed checks have scans by {there}; name one of them"
        )
    return fitting[0]
