"""Each process does its whole work under a login that has its role and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.access import Scope
from schema.states import KeyKind
from tests.support.commands import Processes, Susy
from tests.support.databases import Sql
from tests.support.http_service import running_service
from tests.support.ledger import claimed, done, submission
from tests.support.logins import url_of_login
from tests.support.receiver import Receiver
from worker.callbacks.signing import SigningKey
from worker.errors import ErrorCode
from worker.settings import Settings
from worker.store import Store
from worker.store.callbacks import CallbackStore

REFUSED = "lacks a privilege"


def test_worker_and_reconciler_bring_checks_to_their_verdicts(
    settings: Settings, store: Store, processes: Processes, images: Path, run: Sql
) -> None:
    url = url_of_login(settings.require_database_url(), "susy_worker")
    with Store(url_of_login(settings.require_database_url(), "susy_submit"), pool_size=1) as submitter:
        good = submitter.submit(submission(uri=str(images / "a.png"))).check_id
        bad = submitter.submit(submission(uri=str(images / "missing.png"))).check_id
        late = submitter.submit(submission(uri=str(images / "b.png"), expires_at="2020-01-01T00:00:00Z")).check_id
    lost = claimed(store, lease=0.01, uri=str(images / "b.png"))
    processes.start_reconciler(SUSY_DATABASE_URL=url)
    processes.start_worker(SUSY_DATABASE_URL=url)
    ids = [good, bad, late, lost.check_id]
    processes.eventually(lambda: len(store.finished(ids)) == 4)
    assert [str(store.show(check_id).state) for check_id in ids] == ["done", "quarantined", "expired", "done"]
    processes.eventually(lambda: run("SELECT count(*) FROM susy.decision_changes") == [(0,)])
    processes.eventually(lambda: run("SELECT count(*) FROM susy.events WHERE position IS NULL") == [(0,)])
    assert REFUSED not in processes.output()


def test_the_http_service_submits_reads_cancels_and_records_reviews(settings: Settings, store: Store, run: Sql) -> None:
    key = store.keys.add("all", [Scope.SUBMIT, Scope.READ, Scope.REVIEW, Scope.ADMIN])
    claim = done(store)
    limited = settings.model_copy(update={"database_url": url_of_login(settings.require_database_url(), "susy_serve")})
    with running_service(limited) as service:
        client = service.client(key)
        assert client.get("/readyz").status == 200
        accepted = client.post("/v1/checks", {"source": "avatars", "uri": "/images/1.jpg"})
        assert accepted.status == 202
        shown = client.get(f"/v1/checks/{claim.check_id}")
        assert (shown.status, shown.document["decision"]) == (200, "synthetic")
        assert client.get(f"/v1/checks/{claim.check_id}/map.png").status == 200
        review = client.post(f"/v1/checks/{claim.check_id}/reviews", {"decision": "authentic", "reviewer": "ada"})
        assert review.status in (200, 201)
        cancelled = client.post(f"/v1/checks/{accepted.document['check_id']}/cancel")
        assert cancelled.status == 200
        assert client.get("/v1/events?after=0").status == 200
    with Store(limited.require_database_url(), pool_size=1) as service_store:
        service_store.keys.touch([known.id for known in service_store.keys.all()])
    assert run("SELECT last_used_at IS NOT NULL FROM susy.api_keys") == [(True,)]
    assert run("SELECT kind, actor, details ->> 'login' FROM dashboard.audit_log WHERE action = 'cancel'") == [
        ("checks", "key all", "login_of_susy_serve")
    ]


def test_the_deliverer_signs_and_records_deliveries(settings: Settings, store: Store, processes: Processes) -> None:
    receiver = Receiver()
    try:
        signing = SigningKey.new(KeyKind.HMAC)
        receiver.secret = signing.shared
        with CallbackStore(settings.require_database_url()) as callbacks:
            callbacks.add_endpoint(
                name="platform", url=receiver.url, sources=["avatars"], allow_private=True, kind=KeyKind.HMAC,
                secret=signing.secret,
            )  # fmt: skip
        done(store)
        claim = claimed(store)
        store.fail(claim, code=ErrorCode.CORRUPT, message="no", retry_in=None)
        url = url_of_login(settings.require_database_url(), "susy_deliver")
        processes.start("deliver", SUSY_DATABASE_URL=url)
        processes.eventually(lambda: len(receiver.received) == 2)
        assert all(received.is_verified for received in receiver.received)
        assert REFUSED not in processes.output()
    finally:
        receiver.close()


@pytest.mark.parametrize("role", ["susy_worker", "susy_serve", "susy_deliver", "susy_submit"])
def test_the_doctor_needs_no_more_than_the_role(settings: Settings, susy: Susy, role: str) -> None:
    found = susy(
        "doctor",
        SUSY_DATABASE_URL=url_of_login(settings.require_database_url(), role),
        SUSY_REDIS_URL=settings.require_redis_url(),
        SUSY_IMAGE_ROOTS=str(settings.image_roots[0]),
        SUSY_WEIGHTS=str(settings.weights),
    )
    lines = {line.split()[0]: line for line in found.stdout.splitlines() if line.strip()}
    for part in ("database", "policies"):
        assert lines[part].split()[1] == "ok", found.stdout
