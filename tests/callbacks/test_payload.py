"""The body of a callback: always below the limit, and the same bytes for the same event."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from schema.verdict import Region
from tests.support.ledger import VERDICT, claimed, done, examination
from worker.callbacks.payload import MAX_BODY, MAX_REGIONS, body
from worker.errors import ErrorCode
from worker.store import Event, Store

DATA = {
    "check_id": "0190b5a1-0000-7000-8000-000000000001", "sequence": 1, "source": "avatars", "external_id": "upload-1",
    "lane": "live", "state": "done", "attempts": 1, "created_at": "2026-01-01T00:00:00+00:00",
    "finished_at": "2026-01-01T00:00:01+00:00", "error": None, "decision": "synthetic", "score": 0.97,
    "class_scores": {"authentic": 0.03, "midjourney-images": 0.97}, "generator": "midjourney-images",
    "generator_confidence": 1.0, "reasons": ["above_synthetic_at"], "needs_review": True, "regions": [],
    "policy": {"name": "default", "version": "1a2b3c"}, "model": {"name": "susy", "sha256": "a" * 64}, "width": 640,
    "height": 480, "content_sha256": "b" * 64, "has_map": True, "review": None, "attributes": {},
}  # fmt: skip


def event(**changes: object) -> Event:
    data = {**DATA, **changes}
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Event(1, 1, data["check_id"], "image.verdict.created", moment, data)  # type: ignore[arg-type]


def regions(count: int) -> list[dict[str, float]]:
    return [{"x": 224 * i, "y": 448, "width": 224, "height": 224, "score": i / count} for i in range(count)]


def test_the_form_of_the_body() -> None:
    document = json.loads(body(event(), "https://susy.example"))
    assert list(document) == ["type", "timestamp", "data"]
    assert document["timestamp"] == "2026-01-01T00:00:00Z"
    assert document["data"]["map_url"] == f"https://susy.example/v1/checks/{DATA['check_id']}/map.png"
    assert "has_map" not in document["data"]
    assert json.loads(body(event()))["data"]["map_url"] == f"/v1/checks/{DATA['check_id']}/map.png"
    assert json.loads(body(event(has_map=False)))["data"]["map_url"] is None


def test_what_does_not_fit_is_left_out_and_named() -> None:
    many = json.loads(body(event(regions=regions(400))))["data"]
    assert many["omitted"] == ["regions"]
    assert [region["score"] for region in many["regions"]] == [i / 400 for i in range(380, 400)]
    large = json.loads(body(event(attributes={"text": "x" * 16_000}, regions=regions(100))))["data"]
    assert large["omitted"] == ["regions"]
    assert large["attributes"] == {"text": "x" * 16_000}
    both = json.loads(body(event(attributes={"text": "x" * 16_300}, error=None, external_id="\x01" * 500)))["data"]
    assert both["omitted"] == ["attributes"]
    assert both["attributes"] is None
    assert "omitted" not in json.loads(body(event(regions=regions(MAX_REGIONS))))["data"]


@settings(max_examples=60, deadline=None)
@given(
    source=st.text(min_size=1, max_size=200),
    external_id=st.one_of(st.just("\x01" * 500), st.text(min_size=1, max_size=500)),
    message=st.one_of(st.just("\x01" * 2000), st.text(max_size=2000)),
    attributes=st.dictionaries(st.text(max_size=50), st.text(max_size=3000), max_size=5),
    count=st.integers(0, 600),
)
def test_the_body_is_below_the_limit_whatever_was_submitted(
    source: str, external_id: str, message: str, attributes: dict[str, str], count: int
) -> None:
    given_event = event(
        source=source,
        external_id=external_id,
        error={"code": "corrupt", "message": message},
        attributes=attributes,
        regions=regions(count) if count else [],
        policy={"name": "\x01" * 100, "version": "1a2b3c"},
    )
    encoded = body(given_event, "https://susy.example")
    assert len(encoded) <= MAX_BODY
    assert encoded == body(given_event, "https://susy.example")
    assert json.loads(encoded)["data"]["external_id"] == external_id


def test_events_of_the_ledger_have_every_field(store: Store) -> None:
    verdict = replace(VERDICT, regions=tuple(Region(224 * i, 0, 224, 224, i / 300) for i in range(300)))
    done(store, verdict=verdict, attributes={"text": "é" * 2500})
    store.fail(claimed(store), code=ErrorCode.CORRUPT, message="é" * 2000, retry_in=None)
    for stored in store.events_after(0, limit=10):
        encoded = body(stored)
        assert len(encoded) <= MAX_BODY
        assert encoded == body(stored)
    assert json.loads(encoded)["data"]["error"]["message"] == "é" * 499 + "…"


def test_the_outlines_of_regions_are_not_sent(store: Store) -> None:
    outlined = replace(VERDICT.regions[0], area=0.5, polygon=(((0, 0), (9, 0), (9, 9), (0, 0)),))
    done(store, verdict=replace(VERDICT, regions=(outlined,)))
    [stored] = store.events_after(0, limit=10)
    [region] = json.loads(body(stored))["data"]["regions"]
    assert region["area"] == 0.5
    assert "polygon" not in region


def test_a_record_of_another_check_never_enters_a_body(store: Store) -> None:
    first = claimed(store, external_id="first", attributes={"of": "first"})
    second = claimed(store, external_id="second", attributes={"of": "second"})
    store.record(second, examination())
    store.record(first, examination(verdict=replace(VERDICT, score=0.5)))
    bodies = [json.loads(body(stored))["data"] for stored in store.events_after(0, limit=10)]
    assert [(data["external_id"], data["attributes"]["of"], data["score"]) for data in bodies] == [
        ("second", "second", VERDICT.score), ("first", "first", 0.5),
    ]  # fmt: skip
