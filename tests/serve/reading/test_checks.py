"""Reading checks over HTTP, and finding them by their external ids."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from tests.support.http_service import Client
from tests.support.ledger import SCAN, claimed, done, examination
from worker.policy.decide import decide
from worker.policy.explain import explain
from worker.policy.policy import OutOfScope, Policy
from worker.serve.reading.documents import ExplainDocument
from worker.store import Store

CHECK = {"source": "avatars", "external_id": "1", "uri": "/images/1.jpg"}


def test_a_check_is_read_by_its_id_and_by_its_external_id(client: Client, store: Store) -> None:
    check_id = done(store, external_id="9").check_id
    shown = client.get(f"/v1/checks/{check_id}")
    assert shown.status == 200
    assert (shown.document["state"], shown.document["decision"]) == ("done", "synthetic")
    assert client.get("/v1/checks?source=avatars&external_id=9").document == shown.document
    assert client.get(f"/v1/checks/{uuid4()}").code == "unknown_check"
    assert client.get("/v1/checks?source=avatars&external_id=none").code == "unknown_check"


def test_a_check_says_why_it_was_decided_when_it_is_asked(client: Client, store: Store) -> None:
    used = Policy(name="uploads", synthetic_at=0.9, authentic_below=0.1, out_of_scope=OutOfScope(tiles_disagree=0.4))
    verdict = decide(SCAN, used, ())
    claim = claimed(store)
    store.record(claim, replace(examination(SCAN, verdict), policy=used.document))
    path = f"/v1/checks/{claim.check_id}"
    assert "explain" not in client.get(path).document
    explained = client.get(f"{path}?explain=true").document["explain"]
    assert explained == explain(SCAN, used, ())
    assert (explained["decision"], explained["decided_by"]) == (str(verdict.decision), "tiles_disagree")
    ExplainDocument.model_validate(explained)
    waiting = client.post("/v1/checks", CHECK).document["check_id"]
    assert "explain" not in client.get(f"/v1/checks/{waiting}?explain=true").document
