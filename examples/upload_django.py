"""An upload handler of Django, in one file: the gate is asked before an image is shown, and its callback decides later.

    pip install django standardwebhooks susy-worker
    export SUSY_URL=http://127.0.0.1:8484 SUSY_API_KEY=susy_…    # as `susy up` printed it
    export CALLBACK_SECRET=whsec_…                               # as `susy endpoint add` printed it
    python upload_django.py runserver 9001 --noreload

    curl -F image=@photo.jpg http://127.0.0.1:9001/avatars

An image that is held stays `pending` until its callback, which is signed, may come twice, and may come late. A platform
keeps this in its database; here it is a dictionary.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from standardwebhooks import Webhook, WebhookVerificationError

from susy_worker.guards.django import guard_uploads

STATUS = {"allow": "published", "hold": "pending", "refuse": "refused"}
DECIDED = {"authentic": "published", "synthetic": "refused", "inconclusive": "pending"}

images: dict[str, dict[str, Any]] = {}
"""By check id."""


@csrf_exempt  # a form of your own site has its token
@require_POST
@guard_uploads(source="avatars", fields=["image"], within=float(os.environ.get("GATE_SECONDS", "10")))
def upload(request: HttpRequest) -> JsonResponse:
    """Refused images never arrive here; what does is published, or waits."""
    [judgement] = request.susy_judgements["image"]  # type: ignore[attr-defined]
    check_id = str(judgement.check_id)
    # The callback may have come before this line.
    image = images.setdefault(check_id, {"sequence": 0, "status": STATUS[judgement.answer]})
    return JsonResponse({"check_id": check_id, "status": image["status"]}, status=202)


def show(_request: HttpRequest, check_id: str) -> JsonResponse:
    """Whether the image is shown."""
    image = images.get(check_id)
    return JsonResponse({"status": image["status"] if image else "unknown"}, status=200 if image else 404)


@csrf_exempt
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """A callback: believed when its signature is right, and kept when it is newer than what is known."""
    try:
        Webhook(os.environ["CALLBACK_SECRET"]).verify(request.body, dict(request.headers))
    except WebhookVerificationError:
        return HttpResponse("wrong signature\n", status=401)
    message = json.loads(request.body)
    data = message["data"]
    if message["type"].startswith("image.verdict."):  # created, or changed by a policy that was applied later
        known = images.setdefault(data["check_id"], {"sequence": 0, "status": "pending"})
        if data["sequence"] > known["sequence"]:
            known |= {"sequence": data["sequence"], "status": DECIDED[data["decision"]]}
    return HttpResponse(status=204)


urlpatterns = [
    path("avatars", upload),
    path("avatars/<str:check_id>", show),
    path("hooks/susy", receive),
]

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "only for this example"),
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    DEBUG=False,
)

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
