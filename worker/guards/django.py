"""The guard of Django's views, and a validator of form fields.

@guard_uploads(source="avatars")
def upload(request): ...

image = forms.ImageField(validators=[validate_upload(source="avatars")])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.http import HttpRequest, JsonResponse

from worker.guards.judging import MEDIA_TYPE, REFUSED_STATUS, Guard, Judgement, first_refused, refusal_document

View = Callable[..., Any]


def guard_uploads(*, fields: Collection[str] | None = None, **options: Any) -> Callable[[View], View]:
    """A decorator of views, asynchronous ones too: answers 422 when a file is refused; otherwise the view runs.

    It finds what the guard said in `request.susy_judgements`: a list of `Judgement`, each `allow` or `hold`, by field.
    `fields` are the form's fields that hold images; all files, without it. `options` are those of `Guard`, of which
    `source` is required.
    """
    guard = Guard(**options)

    def refusal(request: HttpRequest) -> JsonResponse | None:
        judged = {
            field: [_judged(guard, file) for file in request.FILES.getlist(field)]
            for field in request.FILES
            if fields is None or field in fields
        }
        request.susy_judgements = judged
        refused = first_refused(judged)
        if refused is None:
            return None
        return JsonResponse(refusal_document(*refused), status=REFUSED_STATUS, content_type=MEDIA_TYPE)

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @functools.wraps(view)
            async def guarded_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                return await sync_to_async(refusal)(request) or await view(request, *args, **kwargs)

            return guarded_async

        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return refusal(request) or view(request, *args, **kwargs)

        return guarded

    return decorate


def validate_upload(**options: Any) -> Callable[[Any], None]:
    """A validator of file fields: a file that is refused makes the form invalid (code `upload_refused`).

    One that is held is valid: its judgement is the attribute `susy_judgement` of the file. `options` as above.
    """
    guard = Guard(**options)

    def validate(file: Any) -> None:
        file.susy_judgement = judgement = _judged(guard, file)
        if judgement.is_refused:
            raise ValidationError("the image was not accepted", code="upload_refused")

    return validate


def _judged(guard: Guard, file: Any) -> Judgement:
    return guard.judge(file.file if hasattr(file, "file") else file)
