"""`susy serve` killed while requests are under way: what it accepted is in the ledger, once, and gets its verdict."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from uuid import UUID

import psutil

from schema.access import Scope
from tests.chaos.deployment import Deployment, enough, inherited
from tests.support.commands import SUSY_FUNCTION, Forked
from tests.support.http_service import Client
from tests.support.servers import Postgres, free_port
from tests.support.waiting import eventually
from worker.store import Store

IN_A_LIST = 10
SENDERS = 8


class HttpService:
    """`susy serve` with two processes, started again when it has ended, as systemd does."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._port = free_port()
        with Store(deployment.database_url, pool_size=1) as store:
            key = store.keys.add("hooks", [Scope.SUBMIT, Scope.READ])
        self.client = Client(f"http://127.0.0.1:{self._port}", key)
        self._process = self._start()
        eventually(self._is_ready, 60, deployment.logs)

    def kill(self, rng: random.Random) -> None:
        """SIGKILL for one of the processes that serve, or for all of them at once."""
        command = psutil.Process(self._process.pid)
        serving = command.children()
        if serving and rng.random() < 0.7:
            rng.choice(serving).kill()
            return
        for process in (command, *serving):
            process.kill()
        self._process.wait()
        psutil.wait_procs(serving, 10)
        self._process = self._start()

    def _start(self) -> Forked:
        deployment = self._deployment
        process = Forked(
            deployment.forks,
            SUSY_FUNCTION,
            "serve",
            folder=deployment.folder,
            log=deployment.folder / f"{len(deployment.started)}-serve.log",
            environment=inherited(
                **deployment._settings(),
                SUSY_SERVE_PORT=str(self._port),
                SUSY_SERVE_WORKERS="2",
                SUSY_SERVE_RATE="100000",
            ),
        )
        deployment.started.append(process)
        return process

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status == 200
        except (OSError, HTTPException):
            return False


class Senders:
    """Send lists of checks on several threads, each list until it is answered, and remember what was accepted."""

    def __init__(self, deployment: Deployment, client: Client, lists: int) -> None:
        self._deployment = deployment
        self._client = client
        self.accepted: dict[str, UUID] = {}
        """Check ids by external ids, as answered."""
        self.unanswered = 0
        self.contradictions = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(SENDERS)
        self._sent = [self._pool.submit(self._send, number) for number in range(lists)]

    @property
    def are_done(self) -> bool:
        return all(sent.done() for sent in self._sent)

    def wait(self) -> None:
        for sent in self._sent:
            sent.result(300)
        self._pool.shutdown()

    def _send(self, number: int) -> None:
        numbers = range(number * IN_A_LIST, (number + 1) * IN_A_LIST)
        items = [
            {"source": "chaos", "external_id": str(each), "uri": str(self._deployment.images.path(each))}
            for each in numbers
        ]
        while not self._has_sent(items):
            time.sleep(0.1)

    def _has_sent(self, items: list[dict[str, str]]) -> bool:
        try:
            answer = self._client.post("/v1/checks", items)
        except (OSError, HTTPException):
            with self._lock:
                self.unanswered += 1
            return False
        if answer.status not in (200, 202):
            assert answer.status == 503, answer
            return False
        with self._lock:
            for item, receipt in zip(items, answer.document["items"], strict=True):
                check_id = UUID(receipt["check_id"])
                earlier = self.accepted.setdefault(item["external_id"], check_id)
                self.contradictions += earlier != check_id
        # Sent once more: a sender that has lost the answer must get the same ids.
        return random.random() < 0.8


@contextmanager
def sending(deployment: Deployment, lists: int) -> Iterator[tuple[HttpService, Senders]]:
    """Senders at work, and in the end the invariant: what was accepted is there once, and gets its verdict."""
    deployment.reconciler()
    deployment.worker()
    service = HttpService(deployment)
    senders = Senders(deployment, service.client, lists)
    yield service, senders
    senders.wait()
    stored = dict(deployment.sql("SELECT external_id, id FROM susy.checks"))
    assert senders.accepted == stored, "what was answered is what is stored, once each"
    assert senders.contradictions == 0
    assert len(stored) == lists * IN_A_LIST
    for external_id, check_id in stored.items():
        deployment.expected[check_id] = deployment.images.score(int(external_id), deployment.weights)
    assert deployment.verify().quarantined == 0


def test_the_http_service_killed_at_random_under_load(deployment: Deployment) -> None:
    rng = random.Random(0)
    kills = 0
    with sending(deployment, enough(100)) as (service, senders):
        while not senders.are_done:
            time.sleep(rng.uniform(0.05, 0.5))
            service.kill(rng)
            kills += 1
            eventually(service._is_ready, 60, deployment.logs)
    assert kills >= 3
    assert senders.unanswered > 0, "a request was under way when its process was killed"


def test_postgres_crashes_under_the_http_service(deployment: Deployment, postgres: Postgres) -> None:
    with sending(deployment, enough(60)) as (_, senders):
        while not senders.accepted:
            time.sleep(0.01)
        postgres.restart()
    assert senders.accepted


def test_the_http_service_stopped_in_order_under_load(deployment: Deployment) -> None:
    with sending(deployment, enough(60)) as (service, senders):
        while len(senders.accepted) < 50:
            time.sleep(0.01)
        service._process.send_signal(signal.SIGTERM)
        assert service._process.wait(60) == 0
        assert "Exception" not in service._process.output()
        service._process = service._start()
        eventually(service._is_ready, 60, deployment.logs)
