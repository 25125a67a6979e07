"""Following events over HTTP."""

from __future__ import annotations

from schema.access import Scope
from tests.support.http_service import Client, Service
from tests.support.ledger import done, submission
from worker.store import CheckFilter, Store


def test_events_are_followed_by_a_cursor(client: Client, store: Store) -> None:
    assert client.get("/v1/events").document == {"events": [], "next": 0}
    ids = [str(done(store, content=f"{number:064x}").check_id) for number in range(3)]
    waiting = store.submit(submission()).check_id
    store.cancel(CheckFilter(check_ids=[waiting]))
    first = client.get("/v1/events?limit=2").document
    rest = client.get(f"/v1/events?after={first['next']}").document
    found = [*first["events"], *rest["events"]]
    assert [event["data"]["check_id"] for event in found] == [*ids, str(waiting)]
    assert [event["type"] for event in found] == ["image.verdict.created"] * 3 + ["image.check.cancelled"]
    assert len({event["id"] for event in found}) == 4
    assert found[0]["data"]["decision"] == "synthetic"
    assert client.get(f"/v1/events?after={rest['next']}").document == {"events": [], "next": rest["next"]}
    for wrong in ("after=-1", "after=x", "limit=0", "limit=501", f"after={2**63}"):
        assert client.get(f"/v1/events?{wrong}").code == "invalid_message", wrong


def test_a_key_of_one_source_follows_that_source(service: Service, store: Store) -> None:
    done(store)
    store.cancel(CheckFilter(check_ids=[store.submit(submission(source="chat")).check_id]))
    client = service.client(store.keys.add("chat", [Scope.READ], sources=["chat"]))
    assert [event["data"]["source"] for event in client.get("/v1/events").document["events"]] == ["chat"]
