"""Which policies decide: the active version of each, the routes that choose one for a check, the shadows beside it.

Pure data. The ledger keeps every configuration there has been as a numbered revision; `worker.queue.policies` reads it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from schema.messages import storable
from schema.verdict import PolicyVersion
from worker.policy.policy import PolicyName

Scalar = bool | int | float | str
SourceName = Annotated[str, Field(min_length=1), AfterValidator(storable)]
_REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,99})@(?P<version>[0-9a-f]{12})")
_SAMPLE_STEPS = 2**32


class Route(BaseModel):
    """One rule: checks of this source with these attributes are decided by this policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: SourceName | None = None
    """The submission's source; any when absent."""
    attributes: dict[str, Scalar] = {}
    """Attributes that the submission must have with exactly these values; none when absent."""
    policy: PolicyName

    @field_validator("attributes")
    @classmethod
    def _can_be_stored(cls, attributes: dict[str, Scalar]) -> dict[str, Scalar]:
        for name, value in attributes.items():
            storable(name)
            if isinstance(value, str):
                storable(value)
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name!r} must be a finite number: no attribute of a submission is {value}")
        return attributes

    def matches(self, source: str, attributes: Mapping[str, Any]) -> bool:
        """Whether a check of this source with these attributes is decided by the route."""
        return (self.source is None or self.source == source) and all(
            name in attributes and _same(attributes[name], value) for name, value in self.attributes.items()
        )

    def covers(self, other: Route) -> bool:
        """Whether every check that `other` matches is matched by this route."""
        return (self.source is None or self.source == other.source) and all(
            name in other.attributes and _same(other.attributes[name], value) for name, value in self.attributes.items()
        )

    def __str__(self) -> str:
        conditions = [] if self.source is None else [f"source = {self.source!r}"]
        conditions += [f"{name} = {value!r}" for name, value in self.attributes.items()]
        return f"{', '.join(conditions) or 'everything'} → {self.policy}"


class Shadow(BaseModel):
    """A policy version that decides beside the live one and has no effect."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PolicyName
    version: str
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the contents that it decides about."""

    @property
    def policy(self) -> PolicyVersion:
        """Name and version of the policy."""
        return PolicyVersion(self.name, self.version)

    def samples(self, content_sha256: str) -> bool:
        """Whether a content belongs to the sample: always the same answer for the same content and version."""
        digest = hashlib.sha256(f"{self.name}@{self.version}:{content_sha256}".encode()).digest()
        return int.from_bytes(digest[:4]) < self.sample * _SAMPLE_STEPS


class Audit(BaseModel):
    """How many of a policy's outcomes a person looks at, whether or not the policy asks for a review."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: PolicyName
    source: SourceName | None = None
    """The source that the rate is for; when absent, every source without a rate of its own."""
    rate: Annotated[float, Field(ge=0, le=1)]
    """Share of the contents that are drawn."""

    def draws(self, content_sha256: str) -> bool:
        """Whether a content is drawn: always the same answer for the same content and policy, whatever its version.

        A higher rate draws every content that a lower one draws.
        """
        digest = hashlib.sha256(f"audit:{self.policy}:{content_sha256}".encode()).digest()
        return int.from_bytes(digest[:4]) < self.rate * _SAMPLE_STEPS

    def __str__(self) -> str:
        return f"{self.policy}{'' if self.source is None else f' of source {self.source!r}'}"


class ReviewRates(BaseModel):
    """How reviewers are checked. The functions of schema/reviews.sql read these keys of the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    second_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the contents whose review is followed by a second person's."""
    golden_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a claim gets an item whose answer is known, while there are some that its moderator has not
    answered."""


class PolicyConfiguration(BaseModel):
    """What every worker decides by, apart from what its own files pin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    active: dict[PolicyName, str] = {}
    """The active version of each policy, by name."""
    routes: tuple[Route, ...] = ()
    """In order: the first that matches chooses the policy of a check that names none."""
    default: PolicyName = "default"
    """The policy of a check that no route matches."""
    shadows: tuple[Shadow, ...] = ()
    audits: tuple[Audit, ...] = ()
    """At most one for each policy and source."""
    reviews: ReviewRates = ReviewRates()

    @model_validator(mode="after")
    def _every_route_is_reached(self) -> Self:
        for number, route in enumerate(self.routes, 1):
            for earlier, other in enumerate(self.routes[: number - 1], 1):
                if other.covers(route):
                    raise ValueError(
                        f"route {number} ({route}) is never reached: route {earlier} ({other}) matches all of its "
                        "checks; move it up, or remove it"
                    )
        return self

    @model_validator(mode="after")
    def _every_rate_is_stated_once(self) -> Self:
        keys = [(audit.policy, audit.source) for audit in self.audits]
        if twice := next((audit for audit in self.audits if keys.count((audit.policy, audit.source)) > 1), None):
            raise ValueError(f"audits: {twice} has two rates; remove one")
        return self

    @property
    def document(self) -> dict[str, Any]:
        """The configuration as JSON. Without what a worker of an earlier version would not understand, if unused."""
        unused = {
            name for name in ("audits", "reviews") if getattr(self, name) == type(self).model_fields[name].default
        }
        return self.model_dump(mode="json", exclude=unused)

    def audit_rate(self, policy: str, source: str, content_sha256: str) -> float | None:
        """The probability in (0, 1] with which this content was drawn for an audit; None when it was not drawn.

        A rate for the source comes before the policy's rate for all sources.
        """
        rates = {audit.source: audit for audit in self.audits if audit.policy == policy}
        audit = rates.get(source) or rates.get(None)
        return audit.rate if audit is not None and audit.draws(content_sha256) else None

    def policy_name(self, source: str, attributes: Mapping[str, Any]) -> str:
        """The policy of a check of this source with these attributes that names none itself."""
        return next((route.policy for route in self.routes if route.matches(source, attributes)), self.default)

    def referenced(self) -> frozenset[PolicyVersion]:
        """Every version that decides, live or in shadow."""
        active = {PolicyVersion(name, version) for name, version in self.active.items()}
        return frozenset(active | {shadow.policy for shadow in self.shadows})

    def missing(self) -> list[str]:
        """What routes name and is not active, in order. The built-in policy, `default`, is always there."""
        named = dict.fromkeys([*(route.policy for route in self.routes), self.default])
        return [name for name in named if name not in self.active and name != "default"]


def parse_reference(text: str) -> PolicyVersion:
    """NAME@VERSION. Raises `ValueError` for anything else."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not of the form NAME@VERSION; `susy policy list` shows what there is")
    return PolicyVersion(match["name"], match["version"])


def _same(one: Any, other: Scalar) -> bool:
    # JSON tells true from 1; Python's comparison does not.
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
