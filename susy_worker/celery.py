"""The worker's Celery app, for `celery -A susy_worker.celery worker`. Needs the extra `worker`."""

from worker.machine.memory import share_one_heap

share_one_heap()  # before the imports that start threads

from worker.queue.app import app  # noqa: E402

__all__ = ["app"]
