"""What the gate answers to a platform that asks before it publishes an image. `docs/gate.md` documents it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from schema.states import Decision


class GateAnswer(StrEnum):
    """What the platform should do with the image now."""

    ALLOW = "allow"
    """Publish it."""
    HOLD = "hold"
    """Neither publish nor refuse it: keep it until its callback, or until a person has looked."""
    REFUSE = "refuse"
    """Do not publish it."""


class GateReason(StrEnum):
    """Why the gate answers as it does."""

    DECIDED = "decided"
    """The check has a verdict; `decision` says which."""
    LATE = "late"
    """There was no verdict before the deadline. The check continues, and its verdict is called back."""
    FAILED = "failed"
    """The check ended without a verdict: quarantined, cancelled or expired."""


@dataclass(frozen=True)
class GateResult:
    """The gate's answer."""

    answer: GateAnswer
    reason: GateReason
    check_id: UUID
    decision: Decision | None
    """The verdict's decision; None unless the reason is `decided`."""
