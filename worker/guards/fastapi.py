"""The guard of FastAPI's routes, a dependency.

@app.post("/avatars")
async def upload(image: UploadFile, judgements: Annotated[Judgements, Depends(UploadGuard(source="avatars"))]): ...
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from worker.guards.judging import REFUSED_STATUS, Guard, Judgement, first_refused, refusal_document

Judgements = dict[str, list[Judgement]]
"""What the guard said of a request's files, by field: each is `allow` or `hold`."""


class UploadGuard:
    """A dependency: answers 422 when a file is refused; otherwise the route runs and is given the judgements.

    `fields` are the form's fields that hold images; all files, without it. `options` are those of `Guard`, of which
    `source` is required.
    """

    def __init__(self, *, fields: Collection[str] | None = None, **options: Any) -> None:
        self._fields = fields
        self._guard = Guard(**options)

    async def __call__(self, request: Request) -> Judgements:
        judged: Judgements = {}
        form = await request.form()
        for field, value in form.multi_items():
            if isinstance(value, UploadFile) and (self._fields is None or field in self._fields):
                judged.setdefault(field, []).append(await run_in_threadpool(self._guard.judge, value.file))
        if refused := first_refused(judged):
            raise HTTPException(REFUSED_STATUS, refusal_document(*refused))
        return judged
