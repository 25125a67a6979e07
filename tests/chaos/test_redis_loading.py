"""A Redis that was started again and loads its data: it answers every command with LOADING."""

from __future__ import annotations

import time
from pathlib import Path

import redis

from tests.chaos.deployment import Deployment, enough, require_few_lines
from tests.support.commands import Susy
from tests.support.waiting import eventually
from worker.client import Client

KEYS = 20_000
SLOWLY = ("--key-load-delay", "600", "--loading-process-events-interval-bytes", "1024")
"""Microseconds per key, and how often it answers meanwhile: some 12 seconds in all."""
MAX_LINES = 40
"""Of one process, without one line per check."""


def test_a_redis_that_loads_its_data_is_waited_for(deployment: Deployment, susy: Susy, tmp_path: Path) -> None:
    reconciler = deployment.reconciler()
    workers = [deployment.ready_worker(CHAOS_SECONDS="0.05") for _ in range(2)]
    _fill(deployment)
    deployment.submit(enough(30))
    with deployment.valkey.client() as client:
        client.save()
    deployment.valkey.kill()
    deployment.valkey.start(*SLOWLY, wait=False)
    eventually(lambda: _answer(deployment) == "loading", 30)
    workers.append(deployment.worker())  # one that finds it so
    variables = deployment.settings.environment() | {"SUSY_IMAGE_ROOTS": str(deployment.images.folder)}
    with Client(deployment.settings) as hook:
        for number in range(3):
            began = time.monotonic()
            deployment.expected[hook.submit(source="hook", uri=str(deployment.images.path(number))).check_id] = (
                deployment.images.score(number, None)
            )
            assert time.monotonic() - began < 10
    assert _answer(deployment) == "loading"
    doctor = susy("doctor", **variables)
    assert doctor.code == 2
    assert "loading its data" in doctor.stdout
    submitted = susy("submit", deployment.images.path(5), "--source", "command", "--json", **variables)
    assert submitted.code == 0, submitted.stderr
    assert len(submitted.stderr.splitlines()) <= 1
    eventually(lambda: _answer(deployment) == "answers", 60)
    deployment.submit(enough(10))
    deployment.settle()
    assert deployment.count("state = 'done'") == len(deployment.expected) + 1
    assert [process.poll() for process in (reconciler, *workers)] == [None] * 4
    require_few_lines(deployment.started, MAX_LINES)


def _fill(deployment: Deployment) -> None:
    with deployment.valkey.client() as client, client.pipeline() as pipeline:
        for number in range(KEYS):
            pipeline.set(f"another-service:{number}", number)
        pipeline.execute()


def _answer(deployment: Deployment) -> str:
    try:
        with deployment.valkey.client() as client:
            client.get("x")
    except redis.BusyLoadingError:
        return "loading"
    except redis.RedisError:
        return "none"
    return "answers"
