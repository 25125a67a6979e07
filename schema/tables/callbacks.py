"""What happened to checks, and on its way to whom it is."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.states import DeliveryState, KeyKind
from schema.tables.base import metadata, moment, one_of, since_now
from schema.tables.checks import checks

# Where callbacks are sent.
endpoints = Table(
    "endpoints",
    metadata,
    Column("id", Integer, Identity(always=True), nullable=False),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    # The sources whose checks are sent here; none for an endpoint that submissions name.
    Column("sources", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # Whether it may be on a private network, and without TLS.
    Column("allow_private", Boolean, nullable=False, server_default=text("false")),
    since_now("created_at"),
    moment("disabled_at"),
    Column("disabled_reason", Text),
    # The circuit: failed attempts in sequence, and until when nothing is sent because of them.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    moment("open_until"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("name"),
    CheckConstraint("name ~ '^[a-z0-9][a-z0-9._-]{0,99}$'", name="name"),
    CheckConstraint("url ~ '^https?://'", name="url"),
    CheckConstraint("failures >= 0", name="failures"),
    CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_has_reason"),
)

# The secrets that sign what is sent to an endpoint: one, or two kinds, and during a rotation the old ones too.
endpoint_keys = Table(
    "endpoint_keys",
    metadata,
    Column("id", Integer, Identity(always=True), nullable=False),
    Column("endpoint_id", Integer, ForeignKey(endpoints.c.id, ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    since_now("created_at"),
    # Set by a rotation, after which the key signs for as long as receivers need to change theirs.
    moment("expires_at"),
    PrimaryKeyConstraint("id"),
    one_of("kind", KeyKind),
    CheckConstraint("octet_length(secret) BETWEEN 24 AND 64", name="secret"),
)

Index(None, endpoint_keys.c.endpoint_id)

# The positions of events. A sequence, so that the positions of deleted events are never given again.
event_positions = Sequence("event_positions", metadata=metadata)

# What happened to checks, written by triggers in the transaction in which it happens. Its position and its data are
# added a moment later, by one session at a time, so that no event appears before another one that readers have passed.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("position", BigInteger),
    Column("check_id", Uuid, ForeignKey(checks.c.id, ondelete="CASCADE"), nullable=False),
    Column("source", Text, nullable=False),
    Column("type", Text, nullable=False),
    since_now("created_at"),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    moment("finished_at"),
    Column("error_code", Text),
    Column("error_message", Text),
    # The verdict that the check ended with: the token of the lease under which it is written.
    Column("verdict_id", Uuid),
    # The verdict that it replaced, of an event of a changed decision.
    Column("previous_verdict_id", Uuid),
    Column("review_id", Uuid),
    # What is sent, as it was when the position was given: it is the same in every attempt.
    Column("data", JSONB),
    PrimaryKeyConstraint("id"),
    CheckConstraint("type ~ '^image\\.[a-z]+\\.[a-z]+$'", name="type"),
    CheckConstraint("(position IS NULL) = (data IS NULL)", name="position_has_data"),
)

Index(None, events.c.position, unique=True, postgresql_where=text("position IS NOT NULL"))
Index("ix_events_without_position", events.c.id, postgresql_where=text("position IS NULL"))
Index(None, events.c.check_id)

# One event on its way to one endpoint.
deliveries = Table(
    "deliveries",
    metadata,
    Column("endpoint_id", Integer, ForeignKey(endpoints.c.id, ondelete="CASCADE"), nullable=False),
    Column("event_id", BigInteger, ForeignKey(events.c.id, ondelete="CASCADE"), nullable=False),
    Column("check_id", Uuid, nullable=False),
    Column("state", Text, nullable=False, server_default=text(f"'{DeliveryState.PENDING}'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    since_now("created_at"),
    since_now("next_attempt_at"),
    Column("lease_token", Uuid),
    moment("lease_until"),
    moment("attempted_at"),
    moment("finished_at"),
    # Of the latest attempt: the HTTP status, if there was an answer, and why it failed.
    Column("status", Integer),
    Column("error_code", Text),
    Column("error_message", Text),
    PrimaryKeyConstraint("endpoint_id", "event_id"),
    one_of("state", DeliveryState),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name="lease_has_end"),
    CheckConstraint("state = 'pending' OR lease_token IS NULL", name="finished_has_no_lease"),
    CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name="finished_has_time"),
    CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", name="failed_has_code"),
)

# The lease is in no index, so that claiming is a heap-only update.
Index(
    "ix_deliveries_pending",
    deliveries.c.endpoint_id,
    deliveries.c.next_attempt_at,
    deliveries.c.event_id,
    postgresql_where=text("state = 'pending'"),
)
# Keeps the events of a check in order, and finds those of a check that is deleted.
Index(None, deliveries.c.check_id, deliveries.c.endpoint_id, deliveries.c.event_id)
Index(None, deliveries.c.event_id)
Index("ix_deliveries_finished", deliveries.c.finished_at, postgresql_where=text("state <> 'pending'"))
Index("ix_deliveries_failed", deliveries.c.endpoint_id, postgresql_where=text("state = 'failed'"))
