"""The states, lanes, decisions and reasons of checks and verdicts."""

from __future__ import annotations

from enum import StrEnum


class CheckState(StrEnum):
    """The state of a check. `docs/architecture.md` draws the transitions."""

    QUEUED = "queued"
    """Accepted; due at `next_attempt_at`."""
    RUNNING = "running"
    """Claimed by one worker until `lease_until`."""
    DONE = "done"
    """Has exactly one live verdict."""
    QUARANTINED = "quarantined"
    """Failed for good, with an error code; an operator can requeue it."""
    CANCELLED = "cancelled"
    """Cancelled by an operator before it was done."""
    EXPIRED = "expired"
    """Not begun before its `expires_at`, when its verdict was of no use any more."""

    @property
    def is_final(self) -> bool:
        """Whether the check has ended; only an operator can requeue it."""
        return self not in (CheckState.QUEUED, CheckState.RUNNING)


class Lane(StrEnum):
    """The order of service. Each lane is a Celery queue of the same name."""

    LIVE = "live"
    """Uploads that people wait for."""
    BACKFILL = "backfill"
    """Everything else; served when no live check waits."""


class Decision(StrEnum):
    """What a policy decides about an image."""

    AUTHENTIC = "authentic"
    SYNTHETIC = "synthetic"
    INCONCLUSIVE = "inconclusive"
    """The detector cannot tell; a person should look."""


class VerdictMode(StrEnum):
    """Whether a verdict counts."""

    LIVE = "live"
    """The one verdict of a check."""
    SHADOW = "shadow"
    """What another policy would have decided; it has no effect."""
    SUPERSEDED = "superseded"
    """Counted until another verdict replaced it; kept as history."""


class Reason(StrEnum):
    """Why a decision was made."""

    ABOVE_SYNTHETIC_AT = "above_synthetic_at"
    """The score reaches the policy's `synthetic_at`."""
    BELOW_AUTHENTIC_BELOW = "below_authentic_below"
    """The score lies below the policy's `authentic_below`."""
    BETWEEN_THRESHOLDS = "between_thresholds"
    """The score lies in the review band."""
    TOO_SMALL = "too_small"
    """A side is shorter than one tile (224 px); nothing was scored."""
    TOO_FEW_TILES = "too_few_tiles"
    """Fewer tiles were scored than the policy asks for."""
    LOW_CONTRAST = "low_contrast"
    """The image has no tile with enough contrast; out of the detector's scope."""
    HEAVILY_RECOMPRESSED = "heavily_recompressed"
    """A JPEG of so low a quality that the traces which the detector looks for are gone."""
    LIKELY_RESIZED = "likely_resized"
    """The pixels show the period of an interpolation: the image was enlarged, or turned by a few degrees."""
    LIKELY_ILLUSTRATION = "likely_illustration"
    """The image has few colors: a drawing, a screenshot or a chart rather than a photograph."""
    TILES_DISAGREE = "tiles_disagree"
    """Some tiles look synthetic and others authentic, which their mean would hide."""
    ANIMATED_FIRST_FRAME_ONLY = "animated_first_frame_only"
    """The first frame looks authentic; the other frames of the animation were not examined."""
    SYNTHETIC_REGION = "synthetic_region"
    """The selected tiles look authentic, but the map shows a region that does not."""
    DEMO_WEIGHTS = "demo_weights"
    """Scored by the demonstration weights, on which no decision about an upload may be based."""


class ClaimAction(StrEnum):
    """What happens to a moderator's claim on a check. All but the first two end it."""

    CLAIMED = "claimed"
    EXTENDED = "extended"
    """Its holder needs more time."""
    DECIDED = "decided"
    """Its holder has reviewed the check."""
    SKIPPED = "skipped"
    """Its holder does not want to decide, and said why; it is given to others."""
    RELEASED = "released"
    """Its holder gave it back."""
    EXPIRED = "expired"
    """Its time was over."""
    WITHDRAWN = "withdrawn"
    """The check needs no review any more, because somebody else decided without a claim."""


class EventType(StrEnum):
    """What an event of a check tells its platform. `image.check.…` ends in the state that the check ended in."""

    VERDICT_CREATED = "image.verdict.created"
    """The check is done."""
    VERDICT_CHANGED = "image.verdict.changed"
    """A policy that was applied afterwards decides otherwise about the check."""
    CHECK_QUARANTINED = "image.check.quarantined"
    CHECK_CANCELLED = "image.check.cancelled"
    CHECK_EXPIRED = "image.check.expired"
    REVIEW_CREATED = "image.review.created"
    """A person has decided about the check."""
    REVIEW_UNDONE = "image.review.undone"
    """A review does not count any more."""


class DeliveryState(StrEnum):
    """The state of one event on its way to one endpoint. `docs/callbacks.md` draws the transitions."""

    PENDING = "pending"
    """Due at `next_attempt_at`; while `lease_until` has not passed, a deliverer is sending it."""
    DELIVERED = "delivered"
    """The endpoint has answered with success."""
    FAILED = "failed"
    """All attempts failed; an operator can retry it."""
    SUPERSEDED = "superseded"
    """Not sent any more, because a newer event of the same check is on its way or was delivered."""


class KeyKind(StrEnum):
    """How an endpoint's key signs."""

    HMAC = "hmac"
    """HMAC-SHA256 with a shared secret: `v1`."""
    ED25519 = "ed25519"
    """Ed25519 with a private key, verified by the public one: `v1a`."""
