"""The JSON that answers submissions, as OpenAPI describes it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from worker.serve.openapi import Problem


class ReceiptDocument(BaseModel):
    """An accepted submission."""

    check_id: UUID
    created: bool = Field(description="False when the same external id was accepted before.")


class StoredDocument(ReceiptDocument):
    """An image that was stored and submitted."""

    uri: str = Field(description="Where it is stored: under its SHA-256.")


class AcceptedItem(ReceiptDocument):
    """An item of a list that was accepted."""

    status: Literal[200, 202]


class RefusedItem(BaseModel):
    """An item of a list that was refused; nothing was written for it."""

    status: int
    error: Problem


class ReceiptList(BaseModel):
    """The outcomes of a list, in its order."""

    accepted: int
    repeated: int
    refused: int
    items: list[AcceptedItem | RefusedItem]
