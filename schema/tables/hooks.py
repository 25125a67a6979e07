"""What is remembered of object storage: the order of its events, and sweeps of buckets."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text

from schema.tables.base import metadata, moment, since_now

# The latest sequencer seen of each object, by the SHA-256 of its name, so that an older event of it is recognized.
object_sequencers = Table(
    "object_sequencers",
    metadata,
    Column("object", LargeBinary, nullable=False),
    Column("sequencer", Text, nullable=False),
    since_now("seen_at"),
    PrimaryKeyConstraint("object"),
    CheckConstraint("octet_length(object) = 32", name="object"),
    CheckConstraint("sequencer ~ '^[0-9A-F]{1,64}$'", name="sequencer"),
)

Index(None, object_sequencers.c.seen_at)

# How far the listing of a bucket, or of a part of one, has come.
sweeps = Table(
    "sweeps",
    metadata,
    Column("location", Text, nullable=False),
    Column("after_key", Text),
    since_now("started_at"),
    since_now("updated_at"),
    moment("finished_at"),
    PrimaryKeyConstraint("location"),
    CheckConstraint("finished_at IS NULL OR after_key IS NULL", name="finished_has_no_key"),
)
