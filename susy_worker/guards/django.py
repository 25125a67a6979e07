"""The guard of Django's views, and a validator of form fields."""

from worker.guards.django import guard_uploads, validate_upload

__all__ = ["guard_uploads", "validate_upload"]
