"""Every command with every kind of Redis URL: an ACL user, a socket, TLS, a database in the query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from schema.states import CheckState
from tests.support.commands import Processes
from tests.support.guarded_redis import FORMS, PASSWORD, Server, guarded_redis
from tests.support.ledger import submission
from worker.store import CheckDetails, Store

__all__ = ["guarded_redis"]


@pytest.mark.parametrize(
    "form",
    [
        "database in the query",
        "socket, ACL user in the query",
        "socket",
        "TLS, ACL user",
        "TLS, client certificate",
    ],
)
def test_every_command_works(
    form: str,
    guarded_redis: Server,
    processes: Processes,
    store: Store,
    images: Path,
    ended: Callable[[UUID], CheckDetails],
) -> None:
    url, _ = FORMS[form](guarded_redis)
    processes.variables |= {"SUSY_REDIS_URL": url, "SUSY_KEY_PREFIX": f"susy:{images.parent.name}:"}
    doctor = processes.run("doctor")
    assert doctor.code == 0, doctor.stdout + doctor.stderr
    # Not published by whoever accepts it: the reconciler does that.
    waiting = store.submit(submission(uri=str(images / "a.png"))).check_id
    processes.start_reconciler()
    processes.start_worker()
    assert ended(waiting).state is CheckState.DONE
    submitted = processes.run("submit", str(images / "b.png"), "--json")
    assert submitted.code == 0, submitted.stderr
    assert ended(UUID(submitted.document["check_id"])).state is CheckState.DONE
    assert PASSWORD not in processes.output()
    for warning in ("service_away", "publish_postponed", "insecure"):
        assert warning not in processes.output() + submitted.stderr
