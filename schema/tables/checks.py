"""Checks, the lanes they wait in, and the messages that no check could be made of."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.states import CheckState, Lane
from schema.tables.base import listed, metadata, moment, one_of, sha256, since_now

# One request to examine one image, and its state.
checks = Table(
    "checks",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("policy", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("state", Text, nullable=False, server_default=text(f"'{CheckState.QUEUED}'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    since_now("created_at"),
    since_now("next_attempt_at"),
    moment("dispatched_at"),
    Column("lease_token", Uuid),
    moment("lease_until"),
    Column("worker", Text),
    moment("started_at"),
    moment("finished_at"),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("content_sha256", Text),
    # The endpoint that the submission named. Not a foreign key, which would lock the endpoint's row for every
    # submission: SUBMIT looks the endpoint up, and none is ever removed.
    Column("endpoint", Text),
    moment("expires_at"),
    Column("etag", Text),
    Column("version_id", Text),
    Column("fetched_etag", Text),
    Column("fetched_version_id", Text),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("source", "external_id"),
    one_of("state", CheckState),
    one_of("lane", Lane),
    sha256("content_sha256"),
    CheckConstraint("source <> '' AND external_id <> '' AND uri <> ''", name="named"),
    CheckConstraint("jsonb_typeof(attributes) = 'object'", name="attributes"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name="running_has_token"),
    CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"),
    CheckConstraint(
        "state <> 'running' OR (worker IS NOT NULL AND started_at IS NOT NULL AND attempts > 0)",
        name="running_has_worker",
    ),
    CheckConstraint(
        f"(state IN ({listed(state for state in CheckState if state.is_final)})) = (finished_at IS NOT NULL)",
        name="finished_has_time",
    ),
    CheckConstraint("state <> 'quarantined' OR error_code IS NOT NULL", name="quarantined_has_code"),
    CheckConstraint("state <> 'done' OR content_sha256 IS NOT NULL", name="done_has_content"),
    CheckConstraint("state <> 'expired' OR expires_at IS NOT NULL", name="expired_has_deadline"),
    CheckConstraint("error_message IS NULL OR error_code IS NOT NULL", name="message_has_code"),
)

# What waits to be published, ordered by source, so that the reconciler can serve sources in turn however many rows one
# of them has. One index per lane: the lane's length is estimated from its size and Postgres' statistics.
for _lane in Lane:
    Index(
        f"ix_checks_waiting_{_lane}",
        checks.c.source,
        checks.c.next_attempt_at,
        postgresql_where=text(f"state = 'queued' AND dispatched_at IS NULL AND lane = '{_lane}'"),
    )
# What was sent to Redis: a bounded number, so that finding lost messages is cheap.
Index(
    "ix_checks_dispatched",
    checks.c.lane,
    checks.c.dispatched_at,
    postgresql_where=text("state = 'queued' AND dispatched_at IS NOT NULL"),
)
# Few rows at any time. lease_until is in no index, so that renewing a lease is a heap-only update.
Index("ix_checks_running", checks.c.lane, checks.c.created_at, postgresql_where=text("state = 'running'"))
# Finds queued checks that have used up their attempts, after an operator has lowered SUSY_MAX_ATTEMPTS.
Index("ix_checks_retrying", checks.c.attempts, postgresql_where=text("state = 'queued' AND attempts > 0"))
Index(
    "ix_checks_quarantined",
    checks.c.error_code,
    checks.c.finished_at,
    postgresql_where=text("state = 'quarantined'"),
)
# Finds the newest quarantined checks, and those of a minute.
Index("ix_checks_quarantined_at", checks.c.finished_at, postgresql_where=text("state = 'quarantined'"))
# Finds checks to requeue that were cancelled by mistake.
Index("ix_checks_cancelled", checks.c.finished_at, postgresql_where=text("state = 'cancelled'"))
# Finds waiting checks whose deadline has passed. Those without a deadline are not in it.
Index(
    "ix_checks_expiring",
    checks.c.expires_at,
    postgresql_where=text("state = 'queued' AND expires_at IS NOT NULL"),
)
# Counts what expired, and finds checks to requeue.
Index("ix_checks_expired", checks.c.lane, checks.c.finished_at, postgresql_where=text("state = 'expired'"))
# Counts the checks that were done in the last minutes.
Index("ix_checks_done", checks.c.lane, checks.c.finished_at, postgresql_where=text("state = 'done'"))
# With the lane, so that the checks of a minute are counted without reading them.
Index("ix_checks_created_at", checks.c.created_at, postgresql_include=["lane"])
# Finds a source's latest checks, also when it has sent none for long.
Index("ix_checks_source_created_at", checks.c.source, checks.c.created_at)

# The lanes that operators have paused. No check of theirs is claimed or dispatched.
paused_lanes = Table(
    "paused_lanes",
    metadata,
    Column("lane", Text, nullable=False),
    since_now("paused_at"),
    PrimaryKeyConstraint("lane"),
    one_of("lane", Lane),
)

# Items of Redis that no check could be made of, for an operator to find.
rejected_messages = Table(
    "rejected_messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    since_now("received_at"),
    Column("task", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    CheckConstraint("octet_length(body) <= 4096", name="body"),
)

Index(None, rejected_messages.c.received_at)
