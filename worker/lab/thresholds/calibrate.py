"""Labelled scores to a policy: thresholds from one half, their rates from the other, both by source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from worker.errors import ConfigurationError, ErrorCode, InputDataError
from worker.lab.thresholds.choose import Chosen, TooFewLabelsError, choose, combine
from worker.lab.thresholds.goals import Goals
from worker.lab.thresholds.labelled import Labelled
from worker.lab.thresholds.measure import Measured, Rate, measure, share_of
from worker.policy.policy import Policy
from worker.validation import describe_invalid


@dataclass(frozen=True, eq=False)
class Labels:
    """The labelled scores, in two halves, and what they are."""

    choice: Labelled
    """What thresholds are chosen on."""
    report: Labelled
    """What their rates are measured on: none of its contents, and none of its pictures, is in `choice`."""
    facts: Mapping[str, str]
    """Where they come from, for the report."""
    warnings: tuple[str, ...] = ()
    """Why rates may be others elsewhere."""
    representative: bool = False
    """Whether they are a sample of all uploads, by their weights. Then their share of synthetic is a prevalence."""


@dataclass(frozen=True)
class OfSource:
    """One source: the rates of the thresholds there, and the thresholds that its own labels would give."""

    source: str
    measured: Measured
    own: tuple[Chosen, ...]
    why: str = ""
    """Why it has no thresholds of its own."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A policy with new thresholds, and how it was found."""

    policy: Policy
    base: Policy
    """The policy with the thresholds that it had."""
    goals: Goals
    """With the prevalence that was measured, where none was stated."""
    labels: Labels
    chosen: tuple[Chosen, ...]
    measured: Measured
    before: Measured
    """The rates of the thresholds of `base`, on the same half."""
    prevalence: Rate | None
    """The share of synthetic contents among all uploads, where the labels are a sample of them."""
    by_source: tuple[OfSource, ...]


def calibrate(labels: Labels, goals: Goals, base: Policy, name: str | None = None) -> Calibrated:
    """Choose the thresholds of `base` for `goals`. The policy keeps everything else, and the name unless one is given.

    Raises `InputDataError` (`data_invalid`): too few labels, with the number that is needed, or scores by which no
    threshold reaches a goal; `ConfigurationError` (`settings`) for a precision at an unknown prevalence.
    """
    goals.require_complete()
    labels = _with_warning_of(labels, base)
    for half, use in ((labels.choice, "thresholds are chosen on"), (labels.report, "their rates are measured on")):
        if not len(half.authentic) or not len(half.generated):
            kind = "authentic" if not len(half.authentic) else "synthetic"
            raise InputDataError(
                ErrorCode.DATA_INVALID,
                f"the half that {use} has no {kind} content, and {len(half)} others; label some images of both kinds",
            )
    prevalence = _prevalence(labels) if labels.representative else None
    if goals.prevalence is None and prevalence is not None and prevalence.value is not None:
        goals = replace(goals, prevalence=prevalence.value)
    if goals.precision is not None and goals.prevalence is None:
        raise ConfigurationError(
            ErrorCode.SETTINGS,
            "a precision depends on how many of all images are synthetic, which these labels do not tell; "
            "add --prevalence, such as 0.02",
        )
    chosen = choose(labels.choice, goals)
    synthetic_at, authentic_below = combine(chosen, base.synthetic_at, base.authentic_below)
    policy = _policy(
        {
            **base.model_dump(),
            "name": name or base.name,
            "synthetic_at": synthetic_at,
            "authentic_below": authentic_below,
        }
    )
    return Calibrated(
        policy=policy,
        base=base,
        goals=goals,
        labels=labels,
        chosen=chosen,
        measured=measure(labels.report, synthetic_at, authentic_below, goals.prevalence),
        before=measure(labels.report, base.synthetic_at, base.authentic_below, goals.prevalence),
        prevalence=prevalence,
        by_source=tuple(
            _of_source(labels, source, goals, synthetic_at, authentic_below) for source in labels.report.names
        ),
    )


def _policy(document: Mapping[str, Any]) -> Policy:
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        problems = describe_invalid(error, whole="policy")
        raise ConfigurationError(
            ErrorCode.POLICY_INVALID,
            f"the new thresholds do not fit the policy that is calibrated: {problems}; change the policy's other "
            "thresholds first",
        ) from error


def _with_warning_of(labels: Labels, base: Policy) -> Labels:
    """`labels`, with a warning where other keys of the policy decide beside its thresholds."""
    if not base.generators:
        return labels
    names = ", ".join(base.generators)
    warning = (
        f"{base.name} has thresholds of their own for {names}. They stay as they are; the rates are those of the "
        "thresholds of all other images."
    )
    return replace(labels, warnings=(*labels.warnings, warning))


def _of_source(labels: Labels, source: str, goals: Goals, synthetic_at: float, authentic_below: float) -> OfSource:
    choice = labels.choice.where(labels.choice.sources == source)
    report = labels.report.where(labels.report.sources == source)
    measured = measure(report, synthetic_at, authentic_below, goals.prevalence)
    try:
        return OfSource(source, measured, choose(choice, goals))
    except InputDataError as error:
        return OfSource(source, measured, (), error.shown if isinstance(error, TooFewLabelsError) else error.message)


def _prevalence(labels: Labels) -> Rate:
    halves = (labels.choice, labels.report)
    return share_of(_together(*(half.generated for half in halves)), _together(*(half.authentic for half in halves)))


def _together(one: Labelled, other: Labelled) -> Labelled:
    return Labelled(
        *(
            np.concatenate([getattr(one, name), getattr(other, name)])
            for name in ("scores", "synthetic", "weights", "groups", "sources")
        )
    )
