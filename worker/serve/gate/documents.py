"""The JSON that the gate answers, as OpenAPI describes it."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from schema.gate import GateAnswer, GateReason
from schema.states import Decision


class GateDocument(BaseModel):
    """What the gate says of an image."""

    answer: GateAnswer
    reason: GateReason
    check_id: UUID | None = None
    decision: Decision | None = Field(None, description="Of the verdict; null unless the reason is `decided`.")
