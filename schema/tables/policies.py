"""Policies, the configuration that applies, and their application to checks that were decided before."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.tables.base import metadata, moment, since_now

# Versions of policies; a version never changes.
policies = Table(
    "policies",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    since_now("created_at"),
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
    since_now("changed_at"),
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
    since_now("started_at"),
    since_now("updated_at"),
    moment("finished_at"),
    # Checks whose verdict was replaced, and those among them whose decision changed.
    Column("replaced", BigInteger, nullable=False, server_default=text("0")),
    Column("changed", BigInteger, nullable=False, server_default=text("0")),
    # The earlier application that this one undoes.
    Column("undoes", BigInteger, ForeignKey("policy_applications.id")),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["policy_name", "policy_version"], [policies.c.name, policies.c.version]),
    CheckConstraint("jsonb_typeof(filter) = 'object'", name="filter"),
    CheckConstraint("applied_by <> '' AND reason <> ''", name="explained"),
    CheckConstraint("changed BETWEEN 0 AND replaced", name="counts"),
)
