"""The OpenAPI description of reviews, with examples."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from worker.errors import ErrorCode
from worker.serve.openapi import BODY_PROBLEMS, CHECK_ID, CHECK_PROBLEMS, inlined, problems
from worker.serve.reading import maps
from worker.serve.reading.documents import GridDocument
from worker.serve.reviews.documents import (
    AccuracyList,
    AgreementList,
    BatchDocument,
    ClaimDocument,
    ClaimList,
    DryRunDocument,
    ExtensionDocument,
    QueueList,
    ReviewList,
    ReviewReceipt,
    UndoDocument,
    WaitingList,
)

CLAIM_ID = "0b8f6a52-4d6e-5c0e-9a40-1d2f3c4b5a69"
REVIEW_ID = "5f0c0d3e-51a4-4a4e-9a55-0c6f4b0f3a11"
_UNTIL = "2026-01-31T08:10:00.123456+00:00"

_LACKS_REVIEW = (ErrorCode.MISSING_SCOPE, "the API key 'hooks' lacks the scope review; it has submit")
_LACKS_SUPERVISE = (ErrorCode.MISSING_SCOPE, "the API key 'queue' lacks the scope supervise; it has review")
_OTHER_SOURCE = (ErrorCode.FORBIDDEN_SOURCE, "the API key 'queue' may not use the source 'chat'; use another key")
_NO_DECISION = (ErrorCode.INVALID_MESSAGE, "decision: Input should be 'authentic', 'synthetic' or 'inconclusive'")
_NO_NAME = (ErrorCode.INVALID_MESSAGE, "moderator: String should have at least 1 character")
_ENDED = (
    ErrorCode.CLAIM_ENDED,
    f"claim {CLAIM_ID} on check {CHECK_ID} has ended (expired); claim the next one",
)
_NOT_ENDED = (ErrorCode.CHECK_NOT_ENDED, f"check {CHECK_ID} is queued; review it when it has ended")
_UNDONE = (ErrorCode.CONFLICT, f"review {REVIEW_ID} was undone before")

CLAIM = {
    "claim_id": CLAIM_ID,
    "claimed_until": _UNTIL,
    "check_id": CHECK_ID,
    "source": "avatars",
    "external_id": "upload-4711",
    "uri": "/images/2026/4711.jpg",
    "lane": "live",
    "attributes": {"country": "NZ"},
    "why": "policy",
    "decision": "inconclusive",
    "score": 0.61,
    "generator": "midjourney-images",
    "generator_confidence": 0.8,
    "reasons": ["between_thresholds"],
    "regions": [],
    "width": 1024,
    "height": 768,
    "links": {
        "map": f"/v1/reviews/claims/{CLAIM_ID}/map.png",
        "grid": f"/v1/reviews/claims/{CLAIM_ID}/map.json",
        "overlay": f"/v1/reviews/claims/{CLAIM_ID}/overlay.png",
    },
}


def _body(model: type[BaseModel], example: dict[str, Any], **more: dict[str, Any]) -> dict[str, Any]:
    """The body of a request, with one example, or with several by name."""
    shown = {"example": example}
    if more:
        shown = {"examples": {name: {"value": value} for name, value in {"plain": example, **more}.items()}}
    content = {"application/json": {"schema": inlined(model.model_json_schema()), **shown}}
    return {"requestBody": {"required": True, "content": content}}


def _answer(model: type[BaseModel], description: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"model": model, "description": description, "content": {"application/json": {"example": example}}}


def review(model: type[BaseModel]) -> dict[str, Any]:
    """A review, whose members are those of `model`."""
    return {
        "openapi_extra": _body(model, {"reviewer": "ada", "decision": "authentic", "note": "a poster"}),
        "responses": {
            201: _answer(ReviewReceipt, "Added.", {"review_id": REVIEW_ID}),
            **BODY_PROBLEMS,
            **CHECK_PROBLEMS,
            **problems(
                _LACKS_REVIEW,
                _NOT_ENDED,
                (ErrorCode.CONFLICT, "this request was sent before with another review"),
                _NO_DECISION,
            ),
        },
    }


def undo(model: type[BaseModel]) -> dict[str, Any]:
    """Taking a review of one's own back."""
    return {
        "openapi_extra": _body(model, {"reviewer": "ada", "reason": "a slip"}),
        "responses": {
            204: {"description": "It does not count any more."},
            **BODY_PROBLEMS,
            **problems(
                _LACKS_REVIEW,
                (ErrorCode.UNKNOWN_REVIEW, f"ben gave no review with the id {REVIEW_ID}"),
                _UNDONE,
                (ErrorCode.INVALID_MESSAGE, "reason: Field required"),
            ),
        },
    }


def claim(model: type[BaseModel]) -> dict[str, Any]:
    """Asking for a check."""
    filtered = {"moderator": "ada", "filters": {"source": "avatars", "min_score": 0.5}, "seconds": 900}
    return {
        "openapi_extra": _body(model, {"moderator": "ada"}, filtered=filtered),
        "responses": {
            201: _answer(ClaimDocument, "Claimed.", CLAIM),
            204: {"description": "Nothing waits that matches."},
            **BODY_PROBLEMS,
            **problems(
                _LACKS_REVIEW,
                _OTHER_SOURCE,
                _ENDED,
                (ErrorCode.TOO_MANY_CLAIMS, "ada holds 50 claims; decide, skip or release some"),
                _NO_NAME,
            ),
        },
    }


_QUEUED = {
    **{name: value for name, value in CLAIM.items() if name not in ("claim_id", "claimed_until", "regions", "links")},
    "policy": "uploads",
    "waiting_since": "2026-01-31T08:00:02.5+00:00",
}
_NEXT = "WzQsLTEyMDAwLjAsIjIwMjYtMDEtMzFUMDg6MDA6MDIuNVoiLCIwMTk5YTNjMi04ZjExLTdjM2UtOWY2Yi0yZDFjNGU1YTZiN2MiXQ"
QUEUE: dict[int | str, dict[str, Any]] = {
    200: _answer(QueueList, "A page.", {"checks": [_QUEUED], "next": _NEXT}),
    **problems(
        _LACKS_REVIEW,
        _OTHER_SOURCE,
        (ErrorCode.INVALID_MESSAGE, "after: is not the `next` of an answer; begin without it"),
    ),
}
_WAITING = [
    {"why": "policy", "checks": 1240, "capped": False, "oldest": "2026-01-31T06:12:00+00:00"},
    {"why": "audit", "checks": 0, "capped": False},
]
QUEUE_COUNTS: dict[int | str, dict[str, Any]] = {
    200: _answer(WaitingList, "The counts.", {"waiting": _WAITING}),
    **problems(_LACKS_REVIEW, _OTHER_SOURCE),
}
HELD: dict[int | str, dict[str, Any]] = {
    200: _answer(ClaimList, "The claims.", {"claims": [CLAIM]}),
    **problems(_LACKS_REVIEW),
}


def decide(model: type[BaseModel]) -> dict[str, Any]:
    """The decision of a claim's holder."""
    return {
        "openapi_extra": _body(model, {"moderator": "ada", "decision": "synthetic", "note": "six fingers"}),
        "responses": {
            201: _answer(ReviewReceipt, "Decided.", {"review_id": REVIEW_ID}),
            **_OF_A_CLAIM,
            **problems(_ENDED, _NOT_ENDED),
        },
    }


def extend(model: type[BaseModel]) -> dict[str, Any]:
    """Keeping a claim."""
    return {
        "openapi_extra": _body(model, {"moderator": "ada", "seconds": 600}),
        "responses": {200: _answer(ExtensionDocument, "Extended.", {"claimed_until": _UNTIL}), **_OF_A_CLAIM},
    }


def give_back(model: type[BaseModel]) -> dict[str, Any]:
    """Giving a claim back, with a reason or without."""
    reason = {"reason": "I know the person"} if "reason" in model.model_fields else {}
    return {
        "openapi_extra": _body(model, {"moderator": "ada"} | reason),
        "responses": {204: {"description": "Given back."}, **_OF_A_CLAIM},
    }


_OF_A_CLAIM = {**BODY_PROBLEMS, **problems(_LACKS_REVIEW, _ENDED, _NO_NAME)}
_OF_A_MAP = problems(_LACKS_REVIEW, _ENDED, *maps.ABSENT)
CLAIM_MAP: dict[int | str, dict[str, Any]] = {**maps.PNG, **_OF_A_MAP}
CLAIM_GRID: dict[int | str, dict[str, Any]] = {
    200: {"model": GridDocument, "content": {"application/json": {"example": maps.GRID_EXAMPLE}}},
    **_OF_A_MAP,
}
CLAIM_OVERLAY: dict[int | str, dict[str, Any]] = {
    **maps.PNG,
    **problems(_LACKS_REVIEW, _ENDED, *maps.ABSENT, *maps.DRAWING),
}


def bulk(model: type[BaseModel]) -> dict[str, Any]:
    """A bulk review."""
    filters = {"source": "avatars", "generator": "midjourney-images", "since": "2026-01-29T00:00:00Z"}
    made = {"reviewer": "ada", "decision": "synthetic", "note": "one campaign", "filters": filters}
    counted = {"checks": 1240, "matching": [{"source": "avatars", "decision": "inconclusive", "checks": 1240}]}
    return {
        "openapi_extra": _body(model, made, counted=made | {"dry_run": True}),
        "responses": {
            200: _answer(DryRunDocument, "Counted.", counted),
            201: _answer(BatchDocument, "Reviewed.", {"batch_id": REVIEW_ID, "reviews": 1240}),
            **BODY_PROBLEMS,
            **problems(
                _LACKS_SUPERVISE,
                _OTHER_SOURCE,
                (ErrorCode.UNKNOWN_CHECK, "no check that has ended matches the filter"),
                (ErrorCode.TOO_MANY_CHECKS, "more than 10000 checks match, the most of one bulk review"),
                (ErrorCode.CONFLICT, "this request was sent before with another bulk review"),
                (ErrorCode.INVALID_MESSAGE, "a bulk review needs a filter, such as source"),
            ),
        },
    }


def undos(model: type[BaseModel]) -> dict[str, Any]:
    """Undoing what anybody decided."""
    return {
        "openapi_extra": _body(model, {"target": REVIEW_ID, "by": "grace", "reason": "the filter was too wide"}),
        "responses": {
            201: _answer(UndoDocument, "Undone.", {"undo_id": CLAIM_ID, "reviews": 1240}),
            **BODY_PROBLEMS,
            **problems(
                _LACKS_SUPERVISE,
                (ErrorCode.UNKNOWN_REVIEW, f"no review and no bulk review has the id {REVIEW_ID}"),
                _UNDONE,
                (ErrorCode.INVALID_MESSAGE, "target: Field required"),
            ),
        },
    }


_REVIEW = {"review_id": REVIEW_ID, "reviewer": "ada", "decision": "authentic", "created_at": _UNTIL}
REVIEWS: dict[int | str, dict[str, Any]] = {
    200: _answer(ReviewList, "The reviews.", {"reviews": [_REVIEW]}),
    **CHECK_PROBLEMS,
    **problems(_LACKS_SUPERVISE),
}
_ALL = {"reviewers": 3, "checks": 240, "agreement": 0.925, "krippendorffs_alpha": 0.79}
_PAIR = {
    "reviewer": "ada",
    "other_reviewer": "ben",
    "reviewers": 2,
    "checks": 120,
    "agreement": 0.95,
    "cohens_kappa": 0.84,
}
AGREEMENT: dict[int | str, dict[str, Any]] = {
    200: _answer(AgreementList, "Empty without second reviews.", {"agreement": [_ALL, _PAIR]}),
    **problems(_LACKS_SUPERVISE, _OTHER_SOURCE),
}
_SHARE = {"accuracy": 0.95, "accuracy_low": 0.888, "accuracy_high": 0.978}
ACCURACY: dict[int | str, dict[str, Any]] = {
    200: _answer(
        AccuracyList,
        "Empty without golden items.",
        {"accuracy": [{"reviewer": "ada", "answers": 100, "correct": 95, "inconclusive": 2, **_SHARE}]},
    ),
    **problems(_LACKS_SUPERVISE, _OTHER_SOURCE),
}
