"""A policy: the rule and the thresholds, read from TOML, validated, versioned by content."""

from __future__ import annotations

import hashlib
import json
import tomllib
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schema.states import Decision
from schema.verdict import PolicyVersion
from worker.errors import ConfigurationError, ErrorCode
from worker.validation import describe_invalid, read_toml

Probability = Annotated[float, Field(ge=0, le=1)]
POLICY_NAME = r"^[a-z0-9][a-z0-9._-]{0,99}$"
PolicyName = Annotated[str, Field(pattern=POLICY_NAME)]


class Rule(StrEnum):
    """How class probabilities become the one number that the thresholds look at.

    Both rules are the model card's; at a threshold of 0.5 each is exactly the card's detector.
    """

    SUM = "sum"
    """All synthetic classes together against the authentic one: 1 − p(authentic)."""
    ARGMAX = "argmax"
    """The strongest synthetic class against the authentic one: p(top) / (p(top) + p(authentic))."""


class Aggregation(StrEnum):
    """How the selected tiles become one distribution over the classes."""

    MEAN = "mean"
    MEDIAN = "median"
    """The tile in the middle by 1 − p(authentic); of an even number, the mean of the middle two."""
    MAX = "max"
    """The most synthetic tile."""


class Localize(StrEnum):
    """When the tiles that were not selected are scored too, so that the map has no holes."""

    ALWAYS = "always"
    SUSPICIOUS = "suspicious"
    """When the selected tiles are not clearly authentic."""
    NEVER = "never"


class Policy(BaseModel):
    """What makes an image authentic, synthetic or inconclusive, and who looks at it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PolicyName
    rule: Rule = Rule.SUM
    aggregate: Aggregation = Aggregation.MEAN
    synthetic_at: Probability
    """At or above it the decision is `synthetic`."""
    authentic_below: Probability
    """Below it the decision is `authentic`; between the two, `inconclusive`."""
    minimum_tiles: Annotated[int, Field(ge=1, le=5)] = 1
    """Fewer scored tiles than this decide nothing."""
    minimum_contrast: Annotated[float, Field(ge=0, le=65025)] = 10.0
    """If no tile's GLCM contrast reaches this, the image is out of the detector's scope. 10 is a
    typical difference of three gray levels over five pixels."""
    localize: Localize = Localize.SUSPICIOUS
    region_at: Probability = 0.9
    """Where the map reaches this, it shows a region, and the image is not called authentic."""
    generator_share: Probability = 0.5
    """A generator is named when it holds at least this share of the synthetic probability; below it,
    the generator is `unknown_generator`."""
    review: frozenset[Decision] = frozenset({Decision.SYNTHETIC, Decision.INCONCLUSIVE})
    """Decisions that a person looks at before anything happens."""

    @model_validator(mode="after")
    def _band_is_in_order(self) -> Self:
        if self.authentic_below > self.synthetic_at:
            raise ValueError("authentic_below must not be above synthetic_at")
        return self

    @cached_property
    def document(self) -> dict[str, Any]:
        """The policy as JSON, every default written out: what a version stands for."""
        return {**self.model_dump(mode="json"), "review": sorted(self.review)}

    @cached_property
    def version(self) -> PolicyVersion:
        """Name and content digest: the same words always have the same version, everywhere."""
        canonical = json.dumps(self.document, sort_keys=True, separators=(",", ":"))
        return PolicyVersion(self.name, hashlib.sha256(canonical.encode()).hexdigest()[:12])


def load_policy(path: Path) -> Policy:
    """Read a policy file. Raises `ConfigurationError` (`policy_invalid`) naming the file, the key and the remedy."""
    try:
        return Policy.model_validate(read_toml(path))
    except ValidationError as error:
        problems = describe_invalid(error, whole="policy")
        raise ConfigurationError(ErrorCode.POLICY_INVALID, f"policy {path}: {problems}") from error
    except ValueError as error:
        raise ConfigurationError(ErrorCode.POLICY_INVALID, f"policy {path} {error}") from error


def default_policy() -> Policy:
    """The built-in policy: a wide review band, and a person before every consequence."""
    return Policy.model_validate(tomllib.loads(files(__package__).joinpath("default.toml").read_text("utf-8")))
