"""Starts chaos workers in a fraction of a second: everything slow is imported once, and each start is a fork.

Reads one JSON object a line: `{"start": "worker"|"reconciler", "environment": {…}, "log": path}` is answered with
`{"pid": …}`, `{"poll": pid}` with `{"code": …}`, None while it runs. When its input ends, so do its children.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any


def main() -> None:
    import kombu.transport.redis  # noqa: F401

    import worker.cli.work
    import worker.queue.celery_app
    import worker.queue.runtime
    import worker.queue.tasks  # noqa: F401

    children: dict[int, int | None] = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        if "start" in request:
            pid = _start(request)
            children[pid] = None
            answer: dict[str, Any] = {"pid": pid}
        else:
            answer = {"code": _poll(request["poll"], children)}
        print(json.dumps(answer), flush=True)
    for pid, code in children.items():
        if code is None and _poll(pid, children) is None:
            os.kill(pid, signal.SIGKILL)


def _start(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.setsid()
        os.environ.clear()
        os.environ.update(request["environment"])
        from tests.chaos import worker

        {"worker": worker.run_worker, "reconciler": worker.run_reconciler}[request["start"]]()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 (a fork must never return into the zygote)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _poll(pid: int, children: dict[int, int | None]) -> int | None:
    if children[pid] is None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children[pid] = os.waitstatus_to_exitcode(status)
    return children[pid]


if __name__ == "__main__":
    main()
