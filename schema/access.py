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
    """What moderators' tools do: claim checks, decide about them, undo one's own. Tells nothing that others decided."""
    SUPERVISE = "supervise"
    """Read what people decided and how they agree, review in bulk, and undo what anybody decided."""
    ADMIN = "admin"
    """Everything that the other scopes allow."""
