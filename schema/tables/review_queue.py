"""Which checks wait for a person, who looks at which, and how reviewers are checked."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from schema.states import ClaimAction, Decision
from schema.tables.base import metadata, moment, one_of, since_now
from schema.tables.checks import checks

# The review queue: one row per check that waits for a person, kept by the triggers of `reviews.sql`. It copies what its
# order and its filters need of the check and its live verdict, so that claiming reads one index of one table.
review_items = Table(
    "review_items",
    metadata,
    Column("check_id", Uuid, ForeignKey(checks.c.id, ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("policy", Text),
    Column("decision", Text),
    Column("generator", Text),
    Column("score", Double),
    Column("needs_review", Boolean, nullable=False),
    Column("content_sha256", Text),
    # The order, ascending: 0 for scores of 0.95 and above, to 10; minus the reach; the time.
    Column("score_band", SmallInteger, nullable=False),
    Column("reach_rank", Double, nullable=False),
    moment("waiting_since", nullable=False),
    PrimaryKeyConstraint("check_id"),
    CheckConstraint("kind IN ('first', 'second', 'third')", name="kind"),
)

_PRIORITY = (
    review_items.c.score_band,
    review_items.c.reach_rank,
    review_items.c.waiting_since,
    review_items.c.check_id,
)
Index("ix_review_items_priority", *_PRIORITY)
Index("ix_review_items_source", review_items.c.source, *_PRIORITY)
Index(
    "ix_review_items_age",
    review_items.c.source,
    review_items.c.needs_review,
    review_items.c.waiting_since,
    postgresql_where=text("kind = 'first'"),
)

# Who looks at which check at this moment.
open_claims = Table(
    "open_claims",
    metadata,
    Column("claim_id", Uuid, nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id, ondelete="CASCADE"), nullable=False),
    Column("moderator", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("content_sha256", Text),
    moment("claimed_until", nullable=False),
    PrimaryKeyConstraint("claim_id"),
    CheckConstraint("kind IN ('first', 'second', 'third', 'golden')", name="kind"),
    UniqueConstraint("check_id", "moderator"),
)

# Nobody gets an image that somebody else is looking at; several people may answer a golden item.
Index("uq_open_claims_check", open_claims.c.check_id, unique=True, postgresql_where=text("kind <> 'golden'"))
Index("uq_open_claims_content", open_claims.c.content_sha256, unique=True, postgresql_where=text("kind <> 'golden'"))
Index(None, open_claims.c.claimed_until)
Index(None, open_claims.c.moderator)

# What happened to claims; rows are only added.
review_claims = Table(
    "review_claims",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("claim_id", Uuid, nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id), nullable=False),
    Column("moderator", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("action", Text, nullable=False),
    moment("claimed_until"),
    Column("reason", Text),
    # A review, or an answer to a golden item.
    Column("review_id", Uuid),
    since_now("created_at"),
    PrimaryKeyConstraint("id"),
    one_of("action", ClaimAction),
    CheckConstraint("kind IN ('first', 'second', 'third', 'golden')", name="kind"),
    CheckConstraint("(action IN ('claimed', 'extended')) = (claimed_until IS NOT NULL)", name="claimed_has_end"),
    CheckConstraint("(action = 'decided') = (review_id IS NOT NULL)", name="decided_has_review"),
    CheckConstraint("action <> 'skipped' OR reason <> ''", name="skipped_has_reason"),
)

Index("uq_review_claims_claimed", review_claims.c.claim_id, unique=True, postgresql_where=text("action = 'claimed'"))
Index(
    "uq_review_claims_ended",
    review_claims.c.claim_id,
    unique=True,
    postgresql_where=text("action NOT IN ('claimed', 'extended')"),
)
Index(None, review_claims.c.claim_id)
Index(None, review_claims.c.check_id)
Index("ix_review_claims_claimed", review_claims.c.created_at, postgresql_where=text("action = 'claimed'"))
Index(
    "ix_review_claims_second",
    review_claims.c.created_at,
    postgresql_where=text("action = 'decided' AND kind = 'second'"),
)
Index(
    "ix_review_claims_skipped",
    review_claims.c.check_id,
    review_claims.c.moderator,
    postgresql_where=text("action = 'skipped'"),
)

# Checks whose right answer is known, hidden among the claims; the latest change of a check applies.
golden_changes = Table(
    "golden_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id), nullable=False),
    # Null: not a golden item any more.
    Column("decision", Text),
    Column("changed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    since_now("created_at"),
    PrimaryKeyConstraint("id"),
    one_of("decision", Decision),
    CheckConstraint("changed_by <> '' AND reason <> ''", name="explained"),
)

Index(None, golden_changes.c.check_id, golden_changes.c.id)

# What moderators answered to golden items. Apart from the reviews, because these answers decide nothing.
golden_answers = Table(
    "golden_answers",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id), nullable=False),
    Column("moderator", Text, nullable=False),
    Column("decision", Text),
    Column("expected", Text),
    Column("note", Text),
    # The answer that its moderator takes back by this row.
    Column("undoes", Uuid, ForeignKey("susy.golden_answers.id")),
    since_now("created_at"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("undoes"),
    one_of("decision", Decision),
    one_of("expected", Decision),
    CheckConstraint("(decision IS NULL) = (undoes IS NOT NULL)", name="answer_or_undo"),
)

Index(None, golden_answers.c.check_id, golden_answers.c.moderator)
