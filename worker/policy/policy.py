"""A policy: the rule and the thresholds, read from TOML, validated, versioned by content."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schema.messages import storable
from schema.states import Decision
from schema.verdict import UNKNOWN_GENERATOR, PolicyVersion
from worker.errors import ConfigurationError, ErrorCode
from worker.validation import describe_invalid, read_toml

Probability = Annotated[float, Field(ge=0, le=1)]
GeneratorName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(storable)]
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
    TRIMMED_MEAN = "trimmed_mean"
    """The mean without the policy's `trim_fraction` of the tiles at either end, by 1 − p(authentic)."""
    TOP_FRACTION = "top_fraction"
    """The mean of the policy's `top_fraction` of the tiles, the most synthetic ones, and of at least one."""


class Localize(StrEnum):
    """When the tiles that were not selected are scored too, so that the map has no holes."""

    ALWAYS = "always"
    SUSPICIOUS = "suspicious"
    """When the selected tiles are not clearly authentic."""
    NEVER = "never"


class GeneratorThresholds(BaseModel):
    """Thresholds for the images that are attributed to one generator. One that is absent is the policy's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    synthetic_at: Probability | None = None
    authentic_below: Probability | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.synthetic_at is None and self.authentic_below is None:
            raise ValueError("set synthetic_at or authentic_below, or remove the generator")
        return self


class OutOfScope(BaseModel):
    """Evidence that the detector's answer means little. Each is switched on by its threshold, and off without one.

    An image with such evidence is `inconclusive`, with the key as reason. What was not measured, as in scans from
    before it was, never decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    heavily_recompressed: Annotated[int, Field(ge=1, le=100)] | None = None
    """A JPEG whose quantization table is that of a lower quality than this, on libjpeg's scale of 1 to 100."""
    likely_resized: Annotated[float, Field(gt=0)] | None = None
    """Interpolation left a period in the pixels whose peak is at least this many times its surroundings."""
    likely_illustration: Annotated[float, Field(gt=0, le=1)] | None = None
    """At least this share of the pixels has one of the 16 most frequent colors, as in drawings and screenshots."""
    tiles_disagree: Annotated[float, Field(gt=0, le=1)] | None = None
    """The highest and the lowest score of the selected tiles differ by at least this."""
    animated_first_frame_only: bool = False
    """An animation, of which only the first frame is examined, is not called authentic. It may be synthetic."""

    @field_validator("heavily_recompressed", "likely_resized", "likely_illustration", "tiles_disagree", mode="before")
    @classmethod
    def _false_is_off(cls, value: Any) -> Any:
        if value is True:
            raise ValueError("give its threshold, or false to switch it off")
        return None if value is False else value


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
    """Where the map reaches this, it shows a region."""
    region_decides: bool = True
    """Whether an image with a region is not called authentic, but `inconclusive` with `synthetic_region`."""
    region_minimum_area: Probability = 0.0
    """Share of the image that a region must cover in order to decide."""
    trim_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.2
    """Of `trimmed_mean`: the share of the tiles that is left out at either end, rounded down; of five, one."""
    top_fraction: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Of `top_fraction`: the share of the tiles that counts, rounded up; of five, two."""
    generators: dict[GeneratorName, GeneratorThresholds] = {}
    """Thresholds of their own for images by these generators, as verdicts name them, `unknown_generator` included."""
    out_of_scope: OutOfScope = OutOfScope()
    """Evidence by which images are out of the detector's scope, beside `minimum_tiles` and `minimum_contrast`."""
    generator_share: Probability = 0.5
    """A generator is named when it holds at least this share of the synthetic probability; below it,
    the generator is `unknown_generator`."""
    review: frozenset[Decision] = frozenset({Decision.SYNTHETIC, Decision.INCONCLUSIVE})
    """Decisions that a person looks at before anything happens."""

    @model_validator(mode="after")
    def _band_is_in_order(self) -> Self:
        if self.authentic_below > self.synthetic_at:
            raise ValueError("authentic_below must not be above synthetic_at")
        for name, own in self.generators.items():
            below = self.authentic_below if own.authentic_below is None else own.authentic_below
            if below > (self.synthetic_at if own.synthetic_at is None else own.synthetic_at):
                raise ValueError(f"generators: authentic_below of {name} must not be above its synthetic_at")
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """See pydantic. The copy has a version of its own: pydantic would copy the one that was derived before."""
        copied = super().model_copy(update=update, deep=deep)
        for derived in ("document", "version"):
            copied.__dict__.pop(derived, None)
        return copied

    @cached_property
    def document(self) -> dict[str, Any]:
        """The policy as JSON: what a version stands for, and what is stored.

        Every key of the first release is written out. Keys that were added later are left out at their defaults, so
        that what a policy said before keeps its version.
        """
        complete = self.complete_document
        added = {name: complete.pop(name) for name in _ADDED}
        added["out_of_scope"] = {
            name: value
            for name, value in added["out_of_scope"].items()
            if value != OutOfScope.model_fields[name].default
        }
        added["generators"] = {
            name: {key: value for key, value in own.items() if value is not None}
            for name, own in sorted(added["generators"].items())
        }
        defaults = {name: _plain(type(self).model_fields[name].default) for name in _ADDED}
        return complete | {name: value for name, value in added.items() if value != defaults[name]}

    @property
    def complete_document(self) -> dict[str, Any]:
        """The policy as JSON, every default written out."""
        return {**self.model_dump(mode="json"), "review": sorted(self.review)}

    def unknown_generators(self, classes: Sequence[str], *, weights: str) -> str | None:
        """What is wrong when `generators` has thresholds for one that a detector with these classes never names.

        `weights` says which detector that is. None when it knows all of them.
        """
        known = (*classes[1:], UNKNOWN_GENERATOR)
        unknown = [f"generators.{name}" for name in self.generators if name not in known]
        return f"{', '.join(unknown)}: {weights} know only {', '.join(known)}" if unknown else None

    @cached_property
    def version(self) -> PolicyVersion:
        """Name and content digest: the same words always have the same version, everywhere."""
        canonical = json.dumps(self.document, sort_keys=True, separators=(",", ":"))
        return PolicyVersion(self.name, hashlib.sha256(canonical.encode()).hexdigest()[:12])


_ADDED = ("region_decides", "region_minimum_area", "trim_fraction", "top_fraction", "generators", "out_of_scope")
"""Keys of `Policy` that were added after versions had been made of others."""


def _plain(default: Any) -> Any:
    return {} if isinstance(default, OutOfScope) else default


def load_policy(path: Path) -> Policy:
    """Read a policy file. Raises `ConfigurationError` (`policy_invalid`) naming the file, the key and the remedy."""
    try:
        return Policy.model_validate(read_toml(path))
    except ValidationError as error:
        problems = describe_invalid(error, whole="policy")
        raise ConfigurationError(ErrorCode.POLICY_INVALID, f"policy {path}: {problems}") from error
    except ValueError as error:
        raise ConfigurationError(ErrorCode.POLICY_INVALID, f"policy {path} {error}") from error


@cache
def default_policy() -> Policy:
    """The built-in policy: a wide review band, and a person before every consequence."""
    return Policy.model_validate(tomllib.loads(files(__package__).joinpath("default.toml").read_text("utf-8")))
