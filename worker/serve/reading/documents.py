"""The JSON of checks, maps and events, as OpenAPI describes it. A test compares these models with the answers."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schema.states import CheckState, Decision, EventType, Lane, Reason


class FailureDocument(BaseModel):
    """Why the latest attempt failed."""

    code: str
    message: str


class TilesDocument(BaseModel):
    """The tiles of an image."""

    mode: str
    total: int
    scored: int


class RegionDocument(BaseModel):
    """A part of the image that looks synthetic: the rectangle around it, in pixels, and its outline."""

    x: int
    y: int
    width: int
    height: int
    score: float = Field(description="Highest score inside.", ge=0, le=1)
    mean_score: float | None = Field(None, description="Mean score of its pixels.", ge=0, le=1)
    area: float | None = Field(None, description="Share of the image inside the outline.", ge=0, le=1)
    generator: str | None = None
    polygon: list[list[tuple[int, int]]] | None = Field(
        None,
        description="The outline as the coordinates of a GeoJSON polygon, in pixels: the exterior ring, then the "
        "holes, each ending where it begins. Null for verdicts from before outlines were stored.",
    )


class GridDocument(BaseModel):
    """A map as numbers."""

    width: int = Field(description="Width of the image in pixels, upright.")
    height: int
    x_edges: list[int] = Field(description="Borders between columns of cells in pixels, one more than columns.")
    y_edges: list[int]
    scores: list[list[float | None]] = Field(
        description="For each row of cells the probability that each is synthetic, null where not scored."
    )
    sampled: bool = Field(description="Whether the map shows a coarser grid of tiles, each stretched over the others.")


class PolicyDocument(BaseModel):
    """The version of the policy that decided."""

    name: str
    version: str


class ModelDocument(BaseModel):
    """The detector that measured."""

    name: str
    sha256: str
    precision: str


class RuleDocument(BaseModel):
    """What one rule of the policy found. The first that holds decides."""

    rule: Reason
    value: float | None = Field(description="The number that it looked at; null when it was not measured.")
    comparison: Literal["below", "at_least", "is"]
    threshold: float
    generator: str | None = Field(description="The generator whose own thresholds apply.")
    holds: bool | None = Field(description="Null when the number was not measured: such a rule decides nothing.")
    decision: Decision = Field(description="What the rule decides if it holds.")
    decides: bool


class ExplainDocument(BaseModel):
    """Why a policy decided as it did."""

    policy: PolicyDocument
    decision: Decision
    decided_by: Reason
    rule: str
    aggregate: str
    tile_scores: list[float] = Field(description="1 − p(authentic) of the selected tiles.")
    score: float | None = Field(description="The number that the thresholds are compared with.")
    rules: list[RuleDocument]


class LinksDocument(BaseModel):
    """Paths of a check's images."""

    map: str
    grid: str
    overlay: str


class CheckDocument(BaseModel):
    """A check. What follows `source_changed` is there once it is `done`."""

    model_config = ConfigDict(extra="allow")

    check_id: UUID
    state: CheckState
    attempts: int
    error: FailureDocument | None = None
    source: str
    external_id: str
    uri: str
    lane: Lane
    attributes: dict[str, Any]
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str | None = None
    etag: str | None = None
    version_id: str | None = None
    fetched_etag: str | None = None
    fetched_version_id: str | None = None
    source_changed: bool | None = None
    decision: Decision | None = None
    score: float | None = Field(None, description="Probability that the image is synthetic.", ge=0, le=1)
    class_scores: dict[str, float] | None = None
    generator: str | None = None
    generator_confidence: float | None = None
    reasons: list[Reason] | None = None
    needs_review: bool | None = None
    width: int | None = None
    height: int | None = None
    content_sha256: str | None = None
    tiles: TilesDocument | None = None
    map_sampled: bool | None = None
    regions: list[RegionDocument] | None = None
    policy: PolicyDocument | None = None
    model: ModelDocument | None = None
    links: LinksDocument | None = None
    explain: ExplainDocument | None = Field(None, description="With `?explain=true`, once it is done.")


class EventDocument(BaseModel):
    """What happened to a check, as callbacks send it."""

    id: str = Field(description="The `webhook-id` of its callbacks.")
    type: EventType
    timestamp: str
    data: dict[str, Any] = Field(description="The check as it was then, with its verdict if it was done.")


class EventList(BaseModel):
    """A part of all events."""

    events: list[EventDocument]
    next: int = Field(description="The cursor for the next request.")
