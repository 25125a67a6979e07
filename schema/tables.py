"""The ledger's tables in their present form. Private: dashboards read the views of `schema/dashboard.sql`.

`migrations/` leads to this schema; a test compares the two. Enumerations are text with a CHECK rather than enum types,
because a CHECK can be replaced inside a transaction, and a value can be removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    cast,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.access import Scope
from schema.scan import Precision
from schema.states import CheckState, ClaimAction, Decision, DeliveryState, KeyKind, Lane, VerdictMode

SCHEMA = "susy"
"""The Postgres schema of the tables."""
DASHBOARD_SCHEMA = "dashboard"
"""The Postgres schema of the views that dashboards may rely on."""

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    },
)


def _listed(words: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({_listed(words)})", name=column)


def _sha256(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} ~ '^[0-9a-f]{{64}}$'", name=column)


def _moment(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _since_now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


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
    _since_now("created_at"),
    _since_now("next_attempt_at"),
    _moment("dispatched_at"),
    Column("lease_token", Uuid),
    _moment("lease_until"),
    Column("worker", Text),
    _moment("started_at"),
    _moment("finished_at"),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("content_sha256", Text),
    # The endpoint that the submission named. Not a foreign key, which would lock the endpoint's row for every
    # submission: SUBMIT looks the endpoint up, and none is ever removed.
    Column("endpoint", Text),
    _moment("expires_at"),
    Column("etag", Text),
    Column("version_id", Text),
    Column("fetched_etag", Text),
    Column("fetched_version_id", Text),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("source", "external_id"),
    _one_of("state", CheckState),
    _one_of("lane", Lane),
    _sha256("content_sha256"),
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
        f"(state IN ({_listed(state for state in CheckState if state.is_final)})) = (finished_at IS NOT NULL)",
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

# The lanes that operators have paused. No check of theirs is claimed or dispatched.
paused_lanes = Table(
    "paused_lanes",
    metadata,
    Column("lane", Text, nullable=False),
    _since_now("paused_at"),
    PrimaryKeyConstraint("lane"),
    _one_of("lane", Lane),
)

scans = Table(
    "scans",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("content_sha256", Text, nullable=False),
    Column("weights_sha256", Text, nullable=False),
    Column("tiling", Text, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("classes", ARRAY(Text), nullable=False),
    Column("is_demo", Boolean, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", Text, nullable=False),
    Column("tiles_total", Integer, nullable=False),
    Column("tiles_scored", Integer, nullable=False),
    Column("corners", LargeBinary, nullable=False),
    Column("contrast", LargeBinary, nullable=False),
    Column("selected", LargeBinary, nullable=False),
    Column("scored", LargeBinary, nullable=False),
    Column("probabilities", LargeBinary, nullable=False),
    Column("map_png", LargeBinary),
    Column("map_sampled", Boolean, nullable=False, server_default=text("false")),
    _since_now("created_at"),
    _since_now("updated_at"),
    Column("precision", Text, nullable=False),
    # What was measured of the file and the pixels beside the tiles; null in scans from before they were.
    Column("signals", JSONB),
    # The map's numbers: the borders of its cells in pixels, and per row and column 10,000 times the score, null where
    # nothing was scored.
    Column("map_x_edges", ARRAY(Integer)),
    Column("map_y_edges", ARRAY(Integer)),
    Column("map_scores", ARRAY(SmallInteger)),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("content_sha256", "weights_sha256", "tiling", "precision"),
    CheckConstraint("jsonb_typeof(signals) = 'object'", name="signals"),
    _sha256("content_sha256"),
    _sha256("weights_sha256"),
    _one_of("precision", Precision),
    CheckConstraint("tiling ~ '^[a-z]+-[0-9]+$'", name="tiling"),
    CheckConstraint("width > 0 AND height > 0", name="size"),
    CheckConstraint("cardinality(classes) > 0", name="classes"),
    CheckConstraint("tiles_scored BETWEEN 0 AND tiles_total", name="tiles"),
    CheckConstraint(
        "map_scores IS NULL AND map_x_edges IS NULL AND map_y_edges IS NULL"
        " OR coalesce(array_length(map_scores, 1) = cardinality(map_y_edges) - 1"
        " AND array_length(map_scores, 2) = cardinality(map_x_edges) - 1, false)",
        name="map",
    ),
    # The length of the bytes matches the shape.
    CheckConstraint("octet_length(corners) = 8 * tiles_total", name="corners"),
    CheckConstraint("octet_length(contrast) = 4 * tiles_total", name="contrast"),
    CheckConstraint("octet_length(selected) = tiles_total", name="selected"),
    CheckConstraint("octet_length(scored) = tiles_total", name="scored"),
    CheckConstraint("octet_length(probabilities) = 2 * tiles_total * cardinality(classes)", name="probabilities"),
)

policies = Table(
    "policies",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    _since_now("created_at"),
    PrimaryKeyConstraint("name", "version"),
    CheckConstraint("name <> '' AND version <> ''", name="named"),
    CheckConstraint("jsonb_typeof(document) = 'object'", name="document"),
)

# Every configuration of the policies that has ever applied: which versions are active, the routes, the shadows. The
# highest revision applies.
policy_revisions = Table(
    "policy_revisions",
    metadata,
    Column("revision", Integer, nullable=False, autoincrement=False),
    Column("configuration", JSONB, nullable=False),
    Column("change", Text, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _since_now("changed_at"),
    PrimaryKeyConstraint("revision"),
    CheckConstraint("revision > 0", name="revision"),
    CheckConstraint("jsonb_typeof(configuration) = 'object'", name="configuration"),
    CheckConstraint("change <> '' AND changed_by <> '' AND reason <> ''", name="explained"),
)

# Every time a policy was applied to checks that were decided before.
policy_applications = Table(
    "policy_applications",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("policy_name", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    # Which checks: since, source, decided_by, reviewed.
    Column("filter", JSONB, nullable=False),
    Column("applied_by", Text, nullable=False),
    Column("reason", Text),
    _since_now("started_at"),
    _since_now("updated_at"),
    _moment("finished_at"),
    # Checks whose verdict was replaced, and those among them whose decision changed.
    Column("replaced", BigInteger, nullable=False, server_default=text("0")),
    Column("changed", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["policy_name", "policy_version"], [policies.c.name, policies.c.version]),
    CheckConstraint("jsonb_typeof(filter) = 'object'", name="filter"),
    CheckConstraint("applied_by <> '' AND reason <> ''", name="explained"),
    CheckConstraint("changed BETWEEN 0 AND replaced", name="counts"),
)

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
    _since_now("created_at"),
    # Set by triggers while a review of the check counts; `reviews` is authoritative.
    _moment("reviewed_at"),
    # The probability with which the content was drawn for an audit; null when it was not drawn.
    Column("audit_rate", REAL),
    PrimaryKeyConstraint("id"),
    # When another verdict replaced it.
    _moment("superseded_at"),
    # The application of a policy to old checks that wrote it; null for the verdict that ended the check.
    Column("application_id", BigInteger, ForeignKey(policy_applications.c.id)),
    # Each policy version has one verdict that was not replaced, and any number that were.
    UniqueConstraint("check_id", "policy_name", "policy_version", "superseded_at", postgresql_nulls_not_distinct=True),
    ForeignKeyConstraint(["policy_name", "policy_version"], [policies.c.name, policies.c.version]),
    _one_of("mode", VerdictMode),
    CheckConstraint("(mode = 'superseded') = (superseded_at IS NOT NULL)", name="superseded_has_time"),
    _one_of("decision", Decision),
    CheckConstraint("score BETWEEN 0 AND 1", name="score"),
    CheckConstraint("generator_confidence BETWEEN 0 AND 1", name="generator_confidence"),
    CheckConstraint("generator_confidence IS NULL OR generator IS NOT NULL", name="confidence_has_generator"),
    CheckConstraint("jsonb_typeof(class_scores) = 'object'", name="class_scores"),
    CheckConstraint("jsonb_typeof(regions) = 'array'", name="regions"),
    CheckConstraint("audit_rate > 0 AND audit_rate <= 1", name="audit_rate"),
)

Index("uq_verdicts_live", verdicts.c.check_id, unique=True, postgresql_where=text("mode = 'live'"))
Index(None, verdicts.c.scan_id)
# Finds the verdicts of shadows, by time.
Index(
    "ix_verdicts_shadow",
    verdicts.c.policy_name,
    verdicts.c.policy_version,
    verdicts.c.created_at,
    postgresql_where=text("mode = 'shadow'"),
)

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
    _since_now("created_at"),
    PrimaryKeyConstraint("id"),
    _one_of("decision", Decision),
    CheckConstraint("reviewer <> ''", name="reviewer"),
    CheckConstraint("reviews > 0", name="reviews"),
    CheckConstraint("jsonb_typeof(filters) = 'object'", name="filters"),
)

Index(None, review_batches.c.created_at)

reviews = Table(
    "reviews",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id), nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("note", Text),
    _since_now("created_at"),
    PrimaryKeyConstraint("id"),
    _one_of("decision", Decision),
    # Of the check's image, so that a review is found when the same content comes again.
    Column("content_sha256", Text),
    CheckConstraint("reviewer <> ''", name="reviewer"),
    _sha256("content_sha256"),
    # Null for the review of one check.
    Column("batch_id", Uuid, ForeignKey(review_batches.c.id)),
)

Index(None, reviews.c.check_id)
Index(None, reviews.c.created_at)
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
    _since_now("added_at"),
    PrimaryKeyConstraint("content_sha256"),
    _sha256("content_sha256"),
    CheckConstraint("expected IN ('authentic', 'synthetic')", name="expected"),
    _one_of("overridden", Decision),
    CheckConstraint("added_by <> ''", name="added_by"),
)

# The undoing of a review, or of what was left of a bulk review.
review_undos = Table(
    "review_undos",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("target_id", Uuid, nullable=False),
    Column("undone_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reviews", Integer, nullable=False),
    _since_now("created_at"),
    PrimaryKeyConstraint("id"),
    CheckConstraint("undone_by <> '' AND reason <> ''", name="explained"),
    CheckConstraint("reviews > 0", name="reviews"),
)

Index(None, review_undos.c.created_at)

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
    _moment("waiting_since", nullable=False),
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

# Who looks at which check at this moment.
open_claims = Table(
    "open_claims",
    metadata,
    Column("claim_id", Uuid, nullable=False),
    Column("check_id", Uuid, ForeignKey(checks.c.id, ondelete="CASCADE"), nullable=False),
    Column("moderator", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("content_sha256", Text),
    _moment("claimed_until", nullable=False),
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
    _moment("claimed_until"),
    Column("reason", Text),
    # A review, or an answer to a golden item.
    Column("review_id", Uuid),
    _since_now("created_at"),
    PrimaryKeyConstraint("id"),
    _one_of("action", ClaimAction),
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
    _since_now("created_at"),
    PrimaryKeyConstraint("id"),
    _one_of("decision", Decision),
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
    _since_now("created_at"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("undoes"),
    _one_of("decision", Decision),
    _one_of("expected", Decision),
    CheckConstraint("(decision IS NULL) = (undoes IS NOT NULL)", name="answer_or_undo"),
)

Index(None, golden_answers.c.check_id, golden_answers.c.moderator)
# Finds the reviews of a day.
Index("ix_reviews_day", cast(func.timezone(text("'UTC'"), reviews.c.created_at), Date))

rejected_messages = Table(
    "rejected_messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    _since_now("received_at"),
    Column("task", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    CheckConstraint("octet_length(body) <= 4096", name="body"),
)

Index(None, rejected_messages.c.received_at)

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
    _since_now("created_at"),
    _moment("disabled_at"),
    Column("disabled_reason", Text),
    # The circuit: failed attempts in sequence, and until when nothing is sent because of them.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    _moment("open_until"),
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
    _since_now("created_at"),
    # Set by a rotation, after which the key signs for as long as receivers need to change theirs.
    _moment("expires_at"),
    PrimaryKeyConstraint("id"),
    _one_of("kind", KeyKind),
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
    _since_now("created_at"),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    _moment("finished_at"),
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
    _since_now("created_at"),
    _since_now("next_attempt_at"),
    Column("lease_token", Uuid),
    _moment("lease_until"),
    _moment("attempted_at"),
    _moment("finished_at"),
    # Of the latest attempt: the HTTP status, if there was an answer, and why it failed.
    Column("status", Integer),
    Column("error_code", Text),
    Column("error_message", Text),
    PrimaryKeyConstraint("endpoint_id", "event_id"),
    _one_of("state", DeliveryState),
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

_SCOPES = ", ".join(f"'{scope}'::text" for scope in Scope)

# The keys of the HTTP service. A key is 32 random bytes, so that its plain SHA-256 is enough: unlike a password it
# cannot be guessed, however fast guesses are.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    # Null: all sources.
    Column("sources", ARRAY(Text)),
    _since_now("created_at"),
    _moment("expires_at"),
    _moment("revoked_at"),
    # Kept to about a minute, so that operators find keys that nobody uses any more.
    _moment("last_used_at"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("digest"),
    CheckConstraint("name <> ''", name="named"),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint(f"cardinality(scopes) > 0 AND scopes <@ ARRAY[{_SCOPES}]", name="scopes"),
    CheckConstraint("cardinality(sources) > 0", name="sources"),
)

Index("uq_api_keys_name", api_keys.c.name, unique=True, postgresql_where=text("revoked_at IS NULL"))
object_sequencers = Table(
    "object_sequencers",
    metadata,
    Column("object", LargeBinary, nullable=False),
    Column("sequencer", Text, nullable=False),
    _since_now("seen_at"),
    PrimaryKeyConstraint("object"),
    CheckConstraint("octet_length(object) = 32", name="object"),
    CheckConstraint("sequencer ~ '^[0-9A-F]{1,64}$'", name="sequencer"),
)

Index(None, object_sequencers.c.seen_at)

sweeps = Table(
    "sweeps",
    metadata,
    Column("location", Text, nullable=False),
    Column("after_key", Text),
    _since_now("started_at"),
    _since_now("updated_at"),
    _moment("finished_at"),
    PrimaryKeyConstraint("location"),
    CheckConstraint("finished_at IS NULL OR after_key IS NULL", name="finished_has_no_key"),
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

# What operators did, beside policies and reviews, which have tables of their own.
operations = Table(
    "operations",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False, server_default=text("SESSION_USER")),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    PrimaryKeyConstraint("id"),
    CheckConstraint("kind <> '' AND actor <> '' AND action <> ''", name="explained"),
    CheckConstraint("jsonb_typeof(details) = 'object'", name="details"),
)

Index(None, operations.c.at)

_STORAGE = (
    # A check is updated about five times. Free space on its page keeps these updates heap-only. Vacuum runs after 2 %
    # of the rows have changed, not after 20 %, which would be 200,000 dead rows of a million. The same holds for
    # inserts, so that counts after an import can use the visibility map.
    "ALTER TABLE susy.checks SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,"
    " autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02)",
    # A delivery is updated when it is claimed and when it ends; an event when it gets its position.
    "ALTER TABLE susy.deliveries SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
    "ALTER TABLE susy.events SET (autovacuum_vacuum_scale_factor = 0.02)",
    # Every row is deleted seconds after it was inserted.
    "ALTER TABLE susy.decision_changes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)",
    # `susy prune` deletes a day's rows at a time: their space is free again after 2 % of the rows.
    *(
        f"ALTER TABLE susy.{table} SET (autovacuum_vacuum_scale_factor = 0.02)"
        for table in ("reviews", "scans", "verdicts")
    ),
    # A PNG is compressed already.
    "ALTER TABLE susy.scans ALTER COLUMN map_png SET STORAGE EXTERNAL",
)

_TRIGGERS = (
    """
    CREATE FUNCTION susy.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- `susy prune` deletes what belongs to old checks, and says so in `operations`.
        IF TG_OP = 'DELETE' AND current_setting('susy.pruning', true) = 'on'
            AND TG_TABLE_NAME NOT IN ('operations', 'policies', 'policy_revisions')
        THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'susy.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END
    $$""",
    *(
        f"""
        CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change()"""
        for table in (
            "operations",
            "policies",
            "policy_revisions",
            "reviews",
            "review_batches",
            "review_undos",
            "undone_reviews",
            "review_claims",
            "golden_changes",
            "golden_answers",
        )
    ),
    # Every final state has a time of its end (ck_checks_finished_has_time), hence an event, whichever statement ends
    # the check. OLD.lease_token becomes the id of the verdict that the same transaction adds next.
    """
    CREATE FUNCTION susy.add_check_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO susy.events (
            check_id, source, type, state, attempts, finished_at, error_code, error_message, verdict_id
        ) VALUES (
            NEW.id, NEW.source,
            CASE NEW.state WHEN 'done' THEN 'image.verdict.created' ELSE 'image.check.' || NEW.state END,
            NEW.state, NEW.attempts, NEW.finished_at, NEW.error_code, NEW.error_message,
            CASE NEW.state WHEN 'done' THEN OLD.lease_token END
        );
        RETURN NULL;
    END
    $$""",
    """
    CREATE TRIGGER checks_add_event AFTER UPDATE OF state ON susy.checks
    FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL AND NEW.state <> OLD.state)
    EXECUTE FUNCTION susy.add_check_event()""",
    # A review of a check that has not ended becomes a part of the event of its end.
    """
    CREATE FUNCTION susy.add_review_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO susy.events (
            check_id, source, type, state, attempts, finished_at, error_code, error_message, review_id
        )
        SELECT
            id, source, 'image.review.created', state, attempts, finished_at, error_code, error_message, NEW.id
        FROM susy.checks WHERE id = NEW.check_id AND finished_at IS NOT NULL;
        RETURN NULL;
    END
    $$""",
    """
    CREATE TRIGGER reviews_add_event AFTER INSERT ON susy.reviews
    FOR EACH ROW EXECUTE FUNCTION susy.add_review_event()""",
)


@event.listens_for(metadata, "after_create")
def _create_what_tables_cannot_say(_target: MetaData, connection: Connection, **_options: object) -> None:
    folder = Path(__file__).parent
    scripts = [(folder / name).read_text(encoding="utf-8") for name in ("triggers.sql", "reviews.sql")]
    for statement in (*_STORAGE, *_TRIGGERS, *scripts):
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
