"""What people decided, alone or in bulk, what they took back, and the cases that result."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    cast,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.states import Decision
from schema.tables.base import metadata, one_of, sha256, since_now
from schema.tables.checks import checks

# One decision about many checks, chosen by a filter.
review_batches = Table(
    "review_batches",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("note", Text),
    Column("filters", JSONB, nullable=False),
    Column("reviews", Integer, nullable=False),
    since_now("created_at"),
    PrimaryKeyConstraint("id"),
    one_of("decision", Decision),
    CheckConstraint("reviewer <> ''", name="reviewer"),
    CheckConstraint("reviews > 0", name="reviews"),
    CheckConstraint("jsonb_typeof(filters) = 'object'", name="filters"),
)

Index(None, review_batches.c.created_at)

# What one person decided about one check.
reviews = Table(
    "reviews",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id), nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("note", Text),
    since_now("created_at"),
    PrimaryKeyConstraint("id"),
    one_of("decision", Decision),
    # Of the check's image, so that a review is found when the same content comes again.
    Column("content_sha256", Text),
    CheckConstraint("reviewer <> ''", name="reviewer"),
    sha256("content_sha256"),
    # Null for the review of one check.
    Column("batch_id", Uuid, ForeignKey(review_batches.c.id)),
)

Index(None, reviews.c.check_id)
Index(None, reviews.c.created_at)
# Gives the audit log the reviews of one check each in the order of time; a bulk review is one entry of its own.
Index("ix_reviews_single", reviews.c.created_at, postgresql_where=text("batch_id IS NULL"))
# Finds the reviews of a day.
Index("ix_reviews_day", cast(func.timezone(text("'UTC'"), reviews.c.created_at), Date))
Index(None, reviews.c.batch_id, postgresql_where=text("batch_id IS NOT NULL"))
Index(
    "ix_reviews_content_sha256",
    reviews.c.content_sha256,
    reviews.c.created_at,
    postgresql_where=text("content_sha256 IS NOT NULL"),
)

# The regression set: contents about which a person said the opposite of a policy. Not foreign keys: a case outlives the
# check that it came from.
cases = Table(
    "cases",
    metadata,
    Column("content_sha256", Text, nullable=False),
    Column("check_id", Uuid, nullable=False),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("policy_name", Text, nullable=False),
    Column("expected", Text, nullable=False),
    Column("overridden", Text, nullable=False),
    Column("added_by", Text, nullable=False),
    since_now("added_at"),
    PrimaryKeyConstraint("content_sha256"),
    sha256("content_sha256"),
    CheckConstraint("expected IN ('authentic', 'synthetic')", name="expected"),
    one_of("overridden", Decision),
    CheckConstraint("added_by <> ''", name="added_by"),
)

Index(None, cases.c.check_id)

# The undoing of a review, or of what was left of a bulk review.
review_undos = Table(
    "review_undos",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("target_id", Uuid, nullable=False),
    Column("undone_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reviews", Integer, nullable=False),
    since_now("created_at"),
    PrimaryKeyConstraint("id"),
    CheckConstraint("undone_by <> '' AND reason <> ''", name="explained"),
    CheckConstraint("reviews > 0", name="reviews"),
)

Index(None, review_undos.c.created_at)

# The reviews that an undo took back.
undone_reviews = Table(
    "undone_reviews",
    metadata,
    Column("review_id", Uuid, ForeignKey(reviews.c.id), nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id), nullable=False),
    Column("undo_id", Uuid, ForeignKey(review_undos.c.id), nullable=False),
    PrimaryKeyConstraint("review_id"),
)

Index(None, undone_reviews.c.check_id)
Index(None, undone_reviews.c.undo_id)
