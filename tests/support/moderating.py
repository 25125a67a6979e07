"""A moderators' tool: a login that is a member of `susy_moderator` and of nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

Claim = dict[str, Any]


@dataclass(frozen=True)
class Moderators:
    """The functions that the tool calls, each in a transaction of its own."""

    database_url: str
    login: str

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """A session of the tool."""
        with psycopg.connect(self.database_url, user=self.login, autocommit=True, row_factory=dict_row) as connection:
            yield connection

    def call(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Run one statement; its rows."""
        with self.connection() as connection:
            return connection.execute(query, parameters).fetchall()

    def claim(self, moderator: str, seconds: int = 600, **filters: object) -> Claim | None:
        """The next check for a moderator; None when none waits."""
        query = "SELECT * FROM dashboard.claim_next_review(%s, %s::jsonb, %s)"
        return next(iter(self.call(query, moderator, json.dumps(filters), seconds)), None)

    def review(self, claim: Claim, moderator: str, decision: str = "authentic") -> UUID:
        """Decide about a claimed check."""
        query = "SELECT dashboard.decide_claim(%s, %s, %s) AS id"
        [row] = self.call(query, claim["claim_id"], moderator, decision)
        review_id: UUID = row["id"]
        return review_id


@pytest.fixture
def moderators(postgres_url: str, database_url: str) -> Iterator[Moderators]:
    """The tool of a test's database."""
    login = f"susy_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE susy_moderator").format(sql.Identifier(login)))
        try:
            yield Moderators(database_url, login)
        finally:
            server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))
