"""Which stage of a check a stack belongs to, and whether its thread only waits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.profile.sampling import Stack

STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("gray", ("luma (worker/detector/contrast.py)", "_Levels.")),
    ("contrast", ("(worker/detector/contrast.py)",)),
    ("signals", ("(worker/pipeline/signals.py)",)),
    (
        "cut",
        (
            "cut (worker/detector/tiles.py)",
            "stack (worker/detector/tiles.py)",
            "stack (numpy/",
        ),
    ),
    ("forward", ("(worker/detector/engine.py)", "(worker/detector/prepare.py)", "(worker/detector/fair_queue.py)")),
    ("lay out tiles", ("(worker/detector/tiles.py)", "(worker/pipeline/measure.py)")),
    ("decide", ("(worker/policy/", "(worker/localization/")),
    ("claim", ("Store.claim (worker/store/store.py)",)),
    ("record", ("(worker/store/recording.py)",)),
    ("find the scan", ("Store.find_scan (worker/store/store.py)",)),
    ("renew leases", ("(worker/queue/heartbeat.py)",)),
    ("other statements", ("(worker/store/", "(psycopg_pool/", "(psycopg/")),
    ("decode", ("(worker/intake/", "(PIL/")),
    ("read and hash", ("(worker/sources/", "content_digest (")),
    ("Celery and Redis", ("(celery/", "(kombu/", "(redis/", "(vine/", "(amqp/", "(billiard/")),
)
"""The first stage one of whose words is in any frame of a stack. Decoding calls what comes before it here."""
OTHER = "other"
WAITS = frozenset(
    (
        *(
            "PyThread_acquire_lock_timed",
            "take_gil",
            "pthread_cond_timedwait",
            "pthread_cond_wait",
            "pthread_mutex_lock",
        ),
        *("__lll_lock_wait", "__lll_lock_wait_private", "sem_wait", "sem_timedwait", "sem_clockwait", "futex"),
        *("poll", "epoll_wait", "select", "nanosleep", "clock_nanosleep", "recv", "recvfrom", "accept", "read"),
    )
)
"""Where a thread waits for another one, for a socket or for time."""


def stage_of(stack: Stack) -> str:
    """The stage of a check."""
    for stage, words in STAGES:
        if any(word in frame for frame in stack for word in words):
            return stage
    return OTHER


def waits(stack: Stack) -> bool:
    """Whether the innermost function that has a name is one that waits."""
    named = [frame for frame in stack if not re.match("0x[0-9a-f]+", frame)]
    return not named or named[-1] in WAITS


def by_stage(stacks: Mapping[Stack, float]) -> dict[str, float]:
    """The CPU seconds of each stage, largest first."""
    seconds: dict[str, float] = {}
    for stack, spent in stacks.items():
        seconds[stage_of(stack)] = seconds.get(stage_of(stack), 0.0) + spent
    return dict(sorted(seconds.items(), key=lambda one: -one[1]))
