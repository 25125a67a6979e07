"""Guards of upload handlers; `docs/upload-hooks.md` shows them. Reading order: `django`, `flask`, `fastapi`."""

from worker.guards.judging import Guard, Judgement

__all__ = ["Guard", "Judgement"]
