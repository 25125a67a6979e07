"""The worker's Celery app, for `celery -A susy_worker.celery worker`. Needs the extra `worker`."""

from worker.queue.app import app

__all__ = ["app"]
