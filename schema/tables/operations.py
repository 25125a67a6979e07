"""API keys, and the log of what operators did."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.access import Scope
from schema.tables.base import metadata, moment, since_now

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
    since_now("created_at"),
    moment("expires_at"),
    moment("revoked_at"),
    # Kept to about a minute, so that operators find keys that are not used any more.
    moment("last_used_at"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("digest"),
    CheckConstraint("name <> ''", name="named"),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint(f"cardinality(scopes) > 0 AND scopes <@ ARRAY[{_SCOPES}]", name="scopes"),
    CheckConstraint("cardinality(sources) > 0", name="sources"),
)

Index("uq_api_keys_name", api_keys.c.name, unique=True, postgresql_where=text("revoked_at IS NULL"))

# What operators did, beside policies and reviews, which have tables of their own.
operations = Table(
    "operations",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("kind", Text, nullable=False),
    # Whom a command or a service names (`susy.actor`); the login where none does.
    Column(
        "actor",
        Text,
        nullable=False,
        server_default=text("COALESCE(NULLIF(current_setting('susy.actor', true), ''), SESSION_USER)"),
    ),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # The database's login; null in entries from before it was kept beside the actor.
    Column("login", Text, server_default=text("SESSION_USER")),
    PrimaryKeyConstraint("id"),
    CheckConstraint("kind <> '' AND actor <> '' AND action <> ''", name="explained"),
    CheckConstraint("jsonb_typeof(details) = 'object'", name="details"),
)

Index(None, operations.c.at)
