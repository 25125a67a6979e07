"""What an API key may do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A right of an API key. `docs/http.md` lists the requests that need each."""

    SUBMIT = "submit"
    """Submit checks and cancel them."""
    READ = "read"
    """Read checks, maps and events."""
    REVIEW = "review"
    """Store what a person decided about a check."""
    ADMIN = "admin"
    """Everything that the other scopes allow."""
