"""What every table is made with: the metadata, and columns and constraints that many of them have."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, DateTime, MetaData, text

SCHEMA = "susy"
"""The Postgres schema of the tables."""

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


def listed(words: Iterable[StrEnum]) -> str:
    """The words as SQL literals, separated by commas."""
    return ", ".join(f"'{word}'" for word in words)


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    """A constraint, named as the column, that it has one of these words."""
    return CheckConstraint(f"{column} IN ({listed(words)})", name=column)


def sha256(column: str) -> CheckConstraint:
    """A constraint, named as the column, that it has 64 hexadecimal digits."""
    return CheckConstraint(f"{column} ~ '^[0-9a-f]{{64}}$'", name=column)


def moment(name: str, *, nullable: bool = True) -> Column[object]:
    """A column with a time."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def since_now(name: str) -> Column[object]:
    """A column with a time, by default that of the transaction that inserts the row."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))
