"""What policies decided, and the counts of it per day."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
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
from sqlalchemy.dialects.postgresql import JSONB

from schema.states import Decision, VerdictMode
from schema.tables.base import metadata, moment, one_of, since_now
from schema.tables.checks import checks
from schema.tables.policies import policies, policy_applications
from schema.tables.scans import scans

# What one policy version says of one check's scan.
verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id), nullable=False),
    Column("scan_id", Uuid, ForeignKey(scans.c.id), nullable=False),
    Column("policy_name", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("decision", Text, nullable=False),
    # Double, so that `susy show` prints the same digits as `susy check`.
    Column("score", Double),
    Column("class_scores", JSONB, nullable=False),
    Column("generator", Text),
    Column("generator_confidence", Double),
    Column("reasons", ARRAY(Text), nullable=False),
    Column("needs_review", Boolean, nullable=False),
    Column("regions", JSONB, nullable=False),
    since_now("created_at"),
    # Set by triggers while a review of the check counts; `reviews` is authoritative.
    moment("reviewed_at"),
    # The probability with which the content was drawn for an audit; null when it was not drawn.
    Column("audit_rate", REAL),
    PrimaryKeyConstraint("id"),
    # When another verdict replaced it.
    moment("superseded_at"),
    # The application of a policy to old checks that wrote it; null for the verdict that ended the check.
    Column("application_id", BigInteger, ForeignKey(policy_applications.c.id)),
    # The verdict of which this is a copy, because what replaced that one was undone.
    Column("restores", Uuid),
    # Each policy version has one verdict that was not replaced, and any number that were.
    UniqueConstraint("check_id", "policy_name", "policy_version", "superseded_at", postgresql_nulls_not_distinct=True),
    ForeignKeyConstraint(["policy_name", "policy_version"], [policies.c.name, policies.c.version]),
    one_of("mode", VerdictMode),
    CheckConstraint("(mode = 'superseded') = (superseded_at IS NOT NULL)", name="superseded_has_time"),
    one_of("decision", Decision),
    CheckConstraint("score BETWEEN 0 AND 1", name="score"),
    CheckConstraint("generator_confidence BETWEEN 0 AND 1", name="generator_confidence"),
    CheckConstraint("generator_confidence IS NULL OR generator IS NOT NULL", name="confidence_has_generator"),
    CheckConstraint("jsonb_typeof(class_scores) = 'object'", name="class_scores"),
    CheckConstraint("jsonb_typeof(regions) = 'array'", name="regions"),
    CheckConstraint("audit_rate > 0 AND audit_rate <= 1", name="audit_rate"),
)

Index("uq_verdicts_live", verdicts.c.check_id, unique=True, postgresql_where=text("mode = 'live'"))
Index(None, verdicts.c.scan_id)
# Finds what an application wrote, in order to undo it.
Index(
    "ix_verdicts_application",
    verdicts.c.application_id,
    verdicts.c.id,
    postgresql_where=text("application_id IS NOT NULL"),
)
# Finds the verdicts of shadows, by time.
Index(
    "ix_verdicts_shadow",
    verdicts.c.policy_name,
    verdicts.c.policy_version,
    verdicts.c.created_at,
    postgresql_where=text("mode = 'shadow'"),
)


def _decision_columns() -> tuple[Column[object], ...]:
    return (
        Column("day", Date, nullable=False),
        Column("source", Text, nullable=False),
        Column("policy_name", Text, nullable=False),
        Column("is_demo", Boolean, nullable=False),
        Column("decision", Text, nullable=False),
        # Empty without a generator.
        Column("generator", Text, nullable=False),
        Column("checks", BigInteger, nullable=False),
        Column("needs_review", BigInteger, nullable=False),
        Column("policy_version", Text, nullable=False),
        Column("weights_sha256", Text, nullable=False),
        Column("precision", Text, nullable=False),
        Column("tiling", Text, nullable=False),
        # By susy.score_bin; -1 without a score.
        Column("score_bin", SmallInteger, nullable=False),
    )


# What live verdicts decided, counted per day: the sums, and the changes that are not in them yet. Triggers on
# `verdicts` add the changes, the reconciler folds them.
decision_counts = Table(
    "decision_counts",
    metadata,
    *_decision_columns(),
    PrimaryKeyConstraint(
        "day",
        "source",
        "policy_name",
        "is_demo",
        "decision",
        "generator",
        "policy_version",
        "weights_sha256",
        "precision",
        "tiling",
        "score_bin",
    ),
)
decision_changes = Table(
    "decision_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    *_decision_columns(),
    PrimaryKeyConstraint("id"),
)
