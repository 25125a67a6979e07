"""The guard of Flask's views.

@app.post("/avatars")
@guard_uploads(source="avatars")
def upload(): ...
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection
from typing import Any, ParamSpec

from flask import Response, current_app, g, request

from worker.guards.judging import MEDIA_TYPE, REFUSED_STATUS, Guard, Judgement, first_refused, refusal_document

Parameters = ParamSpec("Parameters")


def guard_uploads(
    *, fields: Collection[str] | None = None, **options: Any
) -> Callable[[Callable[Parameters, Any]], Callable[Parameters, Any]]:
    """A decorator of views: answers 422 when a file is refused; otherwise the view runs and finds `judgements()`.

    `fields` are the form's fields that hold images; all files, without it. `options` are those of `Guard`, of which
    `source` is required.
    """
    guard = Guard(**options)

    def decorate(view: Callable[Parameters, Any]) -> Callable[Parameters, Any]:
        @functools.wraps(view)
        def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
            g.susy_judgements = judged = {
                field: [guard.judge(file.stream) for file in request.files.getlist(field)]
                for field in request.files
                if fields is None or field in fields
            }
            if refused := first_refused(judged):
                return Response(json.dumps(refusal_document(*refused)), REFUSED_STATUS, mimetype=MEDIA_TYPE)
            return current_app.ensure_sync(view)(*args, **kwargs)

        return guarded

    return decorate


def judgements() -> dict[str, list[Judgement]]:
    """What the guard said of this request's files, by field: each is `allow` or `hold`."""
    found: dict[str, list[Judgement]] = g.susy_judgements
    return found
