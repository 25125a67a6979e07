"""Submitting checks over HTTP."""

from __future__ import annotations

from uuid import UUID

import pytest
import redis

from tests.support.databases import Sql
from tests.support.http_service import Client
from tests.support.waiting import eventually
from worker.object_location import BucketRule
from worker.settings import Settings
from worker.store import Store

CHECK = {"source": "avatars", "external_id": "1", "uri": "/images/1.jpg"}


def test_a_check_is_accepted_once_and_its_repeat_is_told_from_it(client: Client, store: Store) -> None:
    first = client.post("/v1/checks", CHECK)
    assert (first.status, first.document["created"]) == (202, True)
    assert first.headers["location"] == f"/v1/checks/{first.document['check_id']}"
    assert store.show(UUID(first.document["check_id"])).uri == "/images/1.jpg"
    again = client.post("/v1/checks", CHECK)
    assert (again.status, again.document) == (200, first.document | {"created": False})
    other = client.post("/v1/checks", CHECK | {"uri": "/images/2.jpg"})
    assert (other.status, other.code) == (409, "conflict")


@pytest.mark.parametrize(
    "serve_changes",
    [{"buckets": (BucketRule.parse("s3://uploads/images"),), "url_hosts": ("images.example.com",)}],
)
def test_an_image_that_no_worker_would_read_is_refused_and_not_written(client: Client, run: Sql) -> None:
    refused = {
        "s3://uploads/private/a": "bucket_refused",
        "s3://uploads/images//a": "key_unsupported",
        "https://169.254.169.254/latest/meta-data/": "host_refused",
        "https://user:hunter2@images.example.com/a": "url_credentials",
        "http://images.example.com/a": "scheme_refused",
        "https://images.example.com:22/": "port_refused",
        "https://0x7f.1/": "url_invalid",
        "gopher://127.0.0.1:6379/_FLUSHALL": "unsupported_source",
    }
    answer = client.post("/v1/checks", [CHECK | {"uri": uri, "external_id": uri} for uri in refused])
    assert [item["error"]["code"] for item in answer.document["items"]] == list(refused.values())
    assert "hunter2" not in str(answer.document)
    assert run("SELECT uri FROM susy.checks") == []
    for uri in ("s3://uploads/images/a b.jpg", "https://images.example.com/a?signature=x", "/images/not/here.jpg"):
        assert client.post("/v1/checks", CHECK | {"uri": uri, "external_id": uri}).status == 202


def test_an_accepted_check_is_published(client: Client, settings: Settings, redis_url: str) -> None:
    client.post("/v1/checks", CHECK)
    with redis.Redis.from_url(redis_url) as server:
        eventually(lambda: server.llen(f"{settings.key_prefix}live") == 1, 10)


def test_of_a_hundred_items_the_three_bad_ones_are_refused_alone(client: Client, store: Store) -> None:
    store.submit_each([])
    client.post("/v1/checks", CHECK | {"external_id": "7"})
    items = [CHECK | {"external_id": str(number), "uri": f"/images/{number}.jpg"} for number in range(100)]
    items[3] = {"source": "avatars"}
    items[50] = "no object"  # type: ignore[call-overload]
    answer = client.post("/v1/checks", items)
    document = answer.document
    assert (answer.status, document["accepted"], document["refused"]) == (202, 97, 3)
    refused = {number: item["error"]["code"] for number, item in enumerate(document["items"]) if "error" in item}
    assert refused == {3: "invalid_message", 7: "conflict", 50: "invalid_message"}
    for number, item in enumerate(document["items"]):
        if number not in refused:
            assert store.show(UUID(item["check_id"])).external_id == str(number)
    again = client.post("/v1/checks", items)
    assert (again.status, again.document["repeated"], again.document["refused"]) == (200, 97, 3)
