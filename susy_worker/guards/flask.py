"""The guard of Flask's views."""

from worker.guards.flask import guard_uploads, judgements

__all__ = ["guard_uploads", "judgements"]
