"""The body of a callback: an event as JSON, below 20 kB, the same bytes in every attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.store import Event

MAX_BODY = 20_000
"""Bytes that a body has at most."""
MAX_REGIONS = 20
"""Regions that are sent when all of them would make the body too large: those of the highest score."""
MAX_MESSAGE = 500
"""Characters of an error's message that are sent."""

_FIELDS = (
    "check_id", "sequence", "source", "external_id", "lane", "state", "attempts", "created_at", "finished_at", "error",
    "decision", "score", "class_scores", "generator", "generator_confidence", "reasons", "needs_review", "regions",
    "policy", "model", "width", "height", "content_sha256", "source_changed", "map_url", "review", "previous",
    "attributes",
)  # fmt: skip


def body(event: Event, public_url: str | None = None) -> bytes:
    """The body that is sent for an event. `public_url` is where receivers reach the HTTP service, for the map's link.

    What does not fit into `MAX_BODY` is left out, and `omitted` says so: first regions beyond `MAX_REGIONS`, then the
    attributes that were submitted.
    """
    document = event_document(event, public_url)
    data: dict[str, Any] = document["data"]
    encoded = _encode(document)
    omitted: list[str] = []
    if len(encoded) > MAX_BODY and data["regions"] and len(data["regions"]) > MAX_REGIONS:
        best = sorted(data["regions"], key=lambda region: -region["score"])[:MAX_REGIONS]
        data["regions"] = [region for region in data["regions"] if region in best][:MAX_REGIONS]
        omitted.append("regions")
        encoded = _encode({**document, "data": {**data, "omitted": omitted}})
    if len(encoded) > MAX_BODY:
        data["attributes"] = None
        omitted.append("attributes")
        encoded = _encode({**document, "data": {**data, "omitted": omitted}})
    return encoded


def event_document(event: Event, public_url: str | None = None) -> dict[str, Any]:
    """An event as an object with `type`, `timestamp` and `data`, whatever its size."""
    stored: dict[str, Any] = dict(event.data)
    path = f"/v1/checks/{stored['check_id']}/map.png"
    stored["map_url"] = f"{(public_url or '').rstrip('/')}{path}" if stored["has_map"] else None
    if stored["regions"]:  # outlines may be long; the check and the map have them
        stored["regions"] = [
            {name: value for name, value in region.items() if name != "polygon"} for region in stored["regions"]
        ]
    if stored["error"] is not None:
        stored["error"] = {**stored["error"], "message": _shortened(stored["error"]["message"])}
    return {
        "type": event.type,
        "timestamp": timestamp(event.created_at),
        "data": {name: stored.get(name) for name in _FIELDS},
    }


def trial_body(endpoint: str, moment: datetime) -> bytes:
    """The body of a message by which an operator tries an endpoint."""
    return _encode({"type": "endpoint.test", "timestamp": timestamp(moment), "data": {"endpoint": endpoint}})


def timestamp(moment: datetime) -> str:
    """A point in time as bodies have it: ISO 8601 in UTC."""
    return moment.isoformat().replace("+00:00", "Z")


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"
