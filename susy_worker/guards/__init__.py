"""Guards of upload handlers: `susy_worker.guards.django`, `.flask`, `.fastapi`; `docs/upload-hooks.md` shows them."""

from worker.guards.judging import Guard, Judgement

__all__ = ["Guard", "Judgement"]
