"""A deployment to be hurt: real workers, reconcilers, Postgres and Valkey, and the invariant that must survive."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import PIL.Image
import psycopg

from schema.messages import Submission
from schema.scan import Tiling
from schema.states import Lane
from tests.chaos.report import OUTCOMES, Outcome
from tests.chaos.stand_in import StandIn
from tests.support.commands import Forked, Process, environment
from tests.support.forks import ForkServer
from tests.support.servers import Valkey
from tests.support.waiting import eventually
from worker.pipeline.examine import Examiner
from worker.pipeline.measure import Scorer
from worker.policy.policy import default_policy
from worker.queue.publisher import Publisher, submit_check
from worker.settings import Settings, load_settings
from worker.store import Store

SCALE = int(os.environ.get("CHAOS_SCALE", "1"))
SETTLED_WITHIN = float(os.environ.get("CHAOS_SETTLED_WITHIN", "240"))


@dataclass
class Deployment:
    """Everything of one case. Times are short, so that a fault's consequences come soon."""

    folder: Path
    forks: ForkServer
    database_url: str
    valkey: Valkey
    images: Images
    case: str
    weights: Path | None = None
    """The real network's weights; the stand-in scores without."""
    through: dict[str, str] = field(default_factory=dict)
    """Variables that lead workers and reconcilers through a proxy."""
    expected: dict[UUID, float | None] = field(default_factory=dict)
    """The accepted checks, with the score they have without faults."""
    started: list[Process] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def settings(self) -> Settings:
        """As whoever submits is set up, past all proxies."""
        return load_settings(database_url=self.database_url, redis_url=self.valkey.url)

    def worker(self, **variables: str) -> Process:
        """A worker that has started; ready a moment later."""
        return self._start("run_worker", variables)

    def ready_worker(self, **variables: str) -> Process:
        return self.worker(**variables).ready()

    def reconciler(self, **variables: str) -> Process:
        return self._start("run_reconciler", variables)

    def submit(self, count: int, *, publish: bool = True, lane: Lane = Lane.LIVE) -> list[UUID]:
        """Accept `count` checks, as an upload hook does."""
        with Store(self.database_url, pool_size=2) as store, Publisher(self.settings) as publisher:
            return [self._submit(store, publisher if publish else None, lane) for _ in range(count)]

    def accept(self, path: Path, score: float | None) -> UUID:
        """Accept one image of the case's own, whose score is known."""
        with Store(self.database_url, pool_size=1) as store, Publisher(self.settings) as publisher:
            check_id = submit_check(Submission(source="chaos", uri=str(path)), store, publisher).check_id
        self.expected[check_id] = score
        return check_id

    def _submit(self, store: Store, publisher: Publisher | None, lane: Lane) -> UUID:
        number = len(self.expected)
        submission = Submission(source="chaos", external_id=str(number), uri=str(self.images.path(number)), lane=lane)
        receipt = submit_check(submission, store, publisher) if publisher else store.submit(submission)
        self.expected[receipt.check_id] = self.images.score(number, self.weights)
        return receipt.check_id

    def _start(self, function: str, variables: dict[str, str]) -> Process:
        process = Forked(
            self.forks,
            ("tests.chaos.worker", function),
            folder=self.folder,
            log=self.folder / f"{len(self.started)}-{function}.log",
            environment=inherited(**self._settings() | self.through | variables),
        )
        self.started.append(process)
        return process

    def _settings(self) -> dict[str, str]:
        scorer = {"SUSY_WEIGHTS": str(self.weights)} if self.weights else {"CHAOS_STAND_IN": "1"}
        return scorer | {
            "SUSY_DATABASE_URL": self.database_url,
            "SUSY_REDIS_URL": self.valkey.url,
            "SUSY_IMAGE_ROOTS": str(self.images.folder),
            "SUSY_THREADS": "1",
            "SUSY_LEASE_DURATION": "2",
            "SUSY_HEARTBEAT_INTERVAL": "0.5",
            "SUSY_HARD_DEADLINE": "60",
            "SUSY_RECONCILE_INTERVAL": "0.3",
            "SUSY_LOG_FORMAT": "json",
        }

    # --- Looking

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def count(self, condition: str) -> int:
        number: int = self.sql(f"SELECT count(*) FROM susy.checks WHERE {condition}")[0][0]
        return number

    def logs(self) -> str:
        return "\n".join(f"--- {process.log.name}\n{process.output()[-3000:]}" for process in self.started)

    def settle(self) -> None:
        """Wait until no check is queued or running any more."""
        eventually(lambda: self.count("state IN ('queued', 'running')") == 0, SETTLED_WITHIN, self._unsettled)

    def _unsettled(self) -> str:
        rows = self.sql("SELECT state, attempts, count(*), min(error_code) FROM susy.checks GROUP BY 1, 2")
        return f"{rows}\n{self.logs()}"

    def verify(self, *, tolerance: float = 0.0) -> Outcome:
        """The invariant: each accepted check has one live verdict, or is quarantined; its score is what it was."""
        self.settle()
        rows = self.sql(
            """
            SELECT c.id, c.state, c.attempts, count(v.id) FILTER (WHERE v.mode = 'live'), min(v.score)
            FROM susy.checks c LEFT JOIN susy.verdicts v ON v.check_id = c.id GROUP BY c.id
            """
        )
        found = {row[0]: row[1:] for row in rows}
        ends = [found.get(check_id, ("absent", 0, 0, None)) for check_id in self.expected]
        outcome = Outcome(
            case=self.case,
            checks=len(self.expected),
            done=sum(state == "done" and verdicts == 1 for state, _, verdicts, _ in ends),
            quarantined=sum(state == "quarantined" and verdicts == 0 for state, _, verdicts, _ in ends),
            lost=sum(state not in ("done", "quarantined") or (state == "done" and not n) for state, _, n, _ in ends),
            doubled=sum(verdicts > (state == "done") for state, _, verdicts, _ in ends),
            differing=sum(
                state == "done" and not _equal(score, self.expected[check_id], tolerance)
                for check_id, (state, _, _, score) in zip(self.expected, ends, strict=True)
            ),
            orphans=self.count("state = 'running' AND lease_until < now()"),
            most_attempts=max((attempts for _, attempts, _, _ in ends), default=0),
            seconds=time.monotonic() - self.began,
        )
        OUTCOMES.append(outcome)
        assert outcome.holds, f"{outcome}\n{self.logs()}"
        assert len(found) == len(self.expected), "as many checks as were accepted"
        return outcome

    def close(self) -> None:
        for process in self.started:
            process.send_signal(signal.SIGKILL)
        for process in self.started:
            process.wait()
        self.valkey.kill()


class Supervisor:
    """Keeps `count` workers alive, as systemd or an orchestrator does."""

    def __init__(self, deployment: Deployment, count: int, **variables: str) -> None:
        self._deployment = deployment
        self._variables = variables
        self._stopped = threading.Event()
        self.workers = [deployment.worker(**variables) for _ in range(count)]
        self.ends: list[int] = []
        self._thread = threading.Thread(target=self._supervise)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _supervise(self) -> None:
        while not self._stopped.wait(0.2):
            for place, worker in enumerate(self.workers):
                code = worker.poll()
                if code is not None:
                    self.ends.append(code)
                    self.workers[place] = self._deployment.worker(**self._variables)


@contextmanager
def supervised(deployment: Deployment, count: int, **variables: str):  # type: ignore[no-untyped-def]
    supervisor = Supervisor(deployment, count, **variables)
    try:
        yield supervisor
    finally:
        supervisor.stop()


@dataclass
class Images:
    """Small images, each of its own content, and the scores they have without faults."""

    folder: Path
    count: int = 2000

    def path(self, number: int) -> Path:
        path = self.folder / f"{number % self.count}.png"
        if not path.exists():
            rng = np.random.default_rng(number % self.count)
            pixels = np.kron(rng.integers(0, 256, (7, 7, 3), np.uint8), np.ones((32, 32, 1), np.uint8))
            PIL.Image.fromarray(pixels).save(path)
        return path

    def score(self, number: int, weights: Path | None) -> float | None:
        return _score(self.path(number), weights)


@functools.cache
def _score(path: Path, weights: Path | None) -> float | None:
    policy = default_policy()
    examiner = Examiner(_scorer(weights), Tiling(), max_pixels=10**8)
    return examiner.examine(path.read_bytes(), policy).verdict.score


@functools.cache
def _scorer(weights: Path | None) -> Scorer:
    if weights is None:
        return StandIn()
    from worker.detector.detector import Detector

    return Detector(load_settings(weights=str(weights), device="cpu", threads=1))


def _equal(score: float | None, expected: float | None, tolerance: float) -> bool:
    if score is None or expected is None:
        return score is expected
    return abs(score - expected) <= tolerance


def require_few_lines(processes: Iterable[Process], most: int) -> None:
    """Each has logged no traceback and, beside its verdicts, no more than `most` lines."""
    for process in processes:
        lines = [line for line in process.output().splitlines() if '"check_done"' not in line]
        assert len(lines) <= most, process.output()
        assert "Traceback" not in process.output()


def enough(checks: int) -> int:
    """How many checks a case under load has: so many, times CHAOS_SCALE."""
    return checks * SCALE


def inherited(**variables: str) -> dict[str, str]:
    """The environment of every process of a case: as any test's, and the mutation under which the suite runs."""
    mutation = {name: os.environ[name] for name in ("CHAOS_MUTATION",) if name in os.environ}
    return environment(**mutation | variables)
