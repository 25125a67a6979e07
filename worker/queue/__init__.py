"""Celery app, tasks, publishing and the reconciler: how checks travel and are attempted."""
