"""Logins that are members of one of the program's roles, and the URLs by which they connect."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict


def url_of_login(database_url: str, role: str, *others: str) -> str:
    """The database's URL for a login of its own that is a member of `role`, and of `others`."""
    login = f"login_of_{role}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        with suppress(psycopg.errors.DuplicateObject):  # roles belong to the server, which tests share
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(login)))
        for each in (role, *others):
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(each), sql.Identifier(login)))
    return url_of(database_url, login)


def url_of(database_url: str, login: str) -> str:
    """The same database's URL for another user."""
    parameters = {**conninfo_to_dict(database_url), "user": login}
    return f"postgresql://?{urlencode(parameters, quote_via=quote)}"
