"""The JSON of reviews that goes out, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from schema.states import Decision, Lane, Reason
from worker.serve.reading.documents import LinksDocument, RegionDocument


class ReviewReceipt(BaseModel):
    """A review that was added."""

    review_id: UUID


class ClaimDocument(BaseModel):
    """A check that one moderator is given. The same members for a first and a second review."""

    claim_id: UUID
    claimed_until: datetime
    check_id: UUID
    source: str
    external_id: str
    uri: str
    lane: Lane
    attributes: dict[str, Any]
    why: Literal["policy", "audit"] = Field(description="Whether the policy asks for a review, or it is an audit.")
    decision: Decision | None = Field(None, description="Of the verdict, as are the members up to `height`.")
    score: float | None = Field(None, ge=0, le=1)
    generator: str | None = None
    generator_confidence: float | None = Field(None, ge=0, le=1)
    reasons: list[Reason] | None = None
    regions: list[RegionDocument] | None = None
    width: int | None = None
    height: int | None = None
    reviewed_before: Decision | None = Field(
        None, description="What was decided about another check of the same image; null where two people are asked."
    )
    links: LinksDocument


class ClaimList(BaseModel):
    """What a moderator holds."""

    claims: list[ClaimDocument]


class QueuedDocument(BaseModel):
    """A check that waits for its first review. `decision` is that of the verdict, never of a person."""

    check_id: UUID
    source: str
    external_id: str
    uri: str
    lane: Lane
    attributes: dict[str, Any]
    policy: str | None = Field(None, description="Name of the policy that decided.")
    why: Literal["policy", "audit"] = Field(description="Whether the policy asks for a review, or it is an audit.")
    decision: Decision | None = Field(None, description="Of the verdict, as are the members up to `height`.")
    score: float | None = Field(None, ge=0, le=1)
    generator: str | None = None
    generator_confidence: float | None = Field(None, ge=0, le=1)
    reasons: list[Reason] | None = None
    width: int | None = None
    height: int | None = None
    waiting_since: datetime
    claimed_until: datetime | None = Field(None, description="When a moderator's claim on it ends; null without one.")


class QueueList(BaseModel):
    """A part of the review queue."""

    checks: list[QueuedDocument]
    next: str | None = Field(None, description="The cursor for the next request; null at the end.")


class WaitingDocument(BaseModel):
    """How many checks wait for one reason."""

    why: Literal["policy", "audit"]
    checks: int = Field(ge=0, le=10_000)
    capped: bool = Field(description="Whether there are more than 10000.")
    oldest: datetime | None = Field(None, description="Since when the oldest waits; null when none does.")


class WaitingList(BaseModel):
    """Those that policies send to a person, and those of audits."""

    waiting: list[WaitingDocument]


class ExtensionDocument(BaseModel):
    """When a claim ends."""

    claimed_until: datetime


class MatchDocument(BaseModel):
    """Checks of one source and one decision."""

    source: str
    decision: Decision | None = Field(description="Of the verdict; null without one.")
    checks: int


class DryRunDocument(BaseModel):
    """What a bulk review would decide."""

    checks: int
    matching: list[MatchDocument]


class BatchDocument(BaseModel):
    """A bulk review."""

    batch_id: UUID
    reviews: int


class UndoDocument(BaseModel):
    """What an undo did."""

    undo_id: UUID
    reviews: int = Field(description="How many reviews do not count any more.")


class ReviewDocument(BaseModel):
    """What one person decided about one check."""

    review_id: UUID
    reviewer: str
    decision: Decision
    note: str | None = None
    created_at: datetime
    batch_id: UUID | None = Field(None, description="The bulk review that it is a part of.")
    undone_at: datetime | None = Field(None, description="Since when it does not count any more.")


class ReviewList(BaseModel):
    """A part of the reviews of a check."""

    reviews: list[ReviewDocument]
    next: UUID | None = Field(None, description="The cursor for the next request; null at the end.")


class AgreementDocument(BaseModel):
    """How far two people agree, or without names all of them."""

    reviewer: str | None = None
    other_reviewer: str | None = None
    reviewers: int
    checks: int
    agreement: float = Field(ge=0, le=1)
    cohens_kappa: float | None = None
    krippendorffs_alpha: float | None = None


class AgreementList(BaseModel):
    """Of all, then of each two people."""

    agreement: list[AgreementDocument]


class AccuracyDocument(BaseModel):
    """How often one person was right."""

    reviewer: str
    answers: int
    correct: int
    inconclusive: int
    accuracy: float = Field(ge=0, le=1)
    accuracy_low: float
    accuracy_high: float


class AccuracyList(BaseModel):
    """Of everybody who answered checks whose answer is known."""

    accuracy: list[AccuracyDocument]
