from __future__ import annotations

import asyncio
import json
from typing import Any

import django
import pytest
from django import forms
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.http import HttpRequest, JsonResponse

from schema.states import Decision
from tests.guards.conftest import Working
from worker.client import Client


@pytest.fixture(scope="module", autouse=True)
def _configured() -> None:
    if not django_settings.configured:
        django_settings.configure(USE_I18N=False, SECRET_KEY="test", DEFAULT_CHARSET="utf-8")
        django.setup()


def posted(file: Any) -> HttpRequest:
    from django.test import RequestFactory

    request: HttpRequest = RequestFactory().post("/avatars", {"image": file, "name": "ada"})
    return request


def image(content: bytes = b"an image") -> SimpleUploadedFile:
    return SimpleUploadedFile("a.jpg", content, "image/jpeg")


@pytest.mark.parametrize(
    ("decision", "status"), [(Decision.AUTHENTIC, 200), (Decision.INCONCLUSIVE, 200), (Decision.SYNTHETIC, 422)]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_view_runs_unless_a_file_is_refused(
    gate: Client, decides: Working, decision: Decision, status: int, is_async: bool
) -> None:
    from susy_worker.guards.django import guard_uploads

    def answer(request: Any) -> JsonResponse:
        [judgement] = request.susy_judgements["image"]
        return JsonResponse({"content": request.FILES["image"].read().decode(), "answer": judgement.answer})

    async def answer_async(request: Any) -> JsonResponse:
        return answer(request)

    guarded = guard_uploads(source="avatars", within=20, client=gate)(answer_async if is_async else answer)
    with decides(decision):
        response = asyncio.run(guarded(posted(image()))) if is_async else guarded(posted(image()))
    document = json.loads(response.content)
    assert response.status_code == status
    if status == 200:
        assert document == {"content": "an image", "answer": "allow" if decision is Decision.AUTHENTIC else "hold"}
    else:
        assert document["code"] == "upload_refused"


def test_a_field_of_a_form_is_validated(gate: Client, decides: Working) -> None:
    from susy_worker.guards.django import validate_upload

    class Upload(forms.Form):
        image = forms.FileField(validators=[validate_upload(source="avatars", within=20, client=gate)])

    with TemporaryUploadedFile("a.jpg", "image/jpeg", 8, None) as large:
        large.write(b"an image")
        with decides(Decision.SYNTHETIC):
            refused = Upload({}, {"image": large})
            assert not refused.is_valid()
    assert refused.errors.as_data()["image"][0].code == "upload_refused"
    with decides(Decision.INCONCLUSIVE):
        held = Upload({}, {"image": image()})
        assert held.is_valid()
    assert held.cleaned_data["image"].susy_judgement.answer == "hold"
