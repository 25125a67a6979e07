"""Submissions of all requests that arrive together become one INSERT.

While a statement runs, the submissions of further requests collect, and the next statement takes all of them. Nobody
waits for others to arrive: an idle service writes each submission at once, a busy one writes more with each statement.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from schema.messages import Submission
from schema.states import Lane
from worker.errors import PermanentError, SusyError
from worker.queue.publisher import Publisher, publish_new
from worker.store import Receipt, Store

MAX_STATEMENT = 500
"""Submissions in one INSERT, unless one request has more."""
AT_ONCE = 2
"""INSERTs of one process that run at the same time: one that waits for another session's row does not stop the rest."""
MAX_PUBLISHING = 32
"""Groups of new checks that wait to be published; beyond, the reconciler publishes them."""

Outcome = Receipt | PermanentError


@dataclass
class _Waiting:
    submissions: Sequence[Submission]
    outcomes: asyncio.Future[list[Outcome]]


class Submitter:
    """Writes submissions to the ledger, then publishes what is new. For one event loop."""

    def __init__(self, store: Store, publisher: Publisher, *, at_once: int = AT_ONCE) -> None:
        self._store = store
        self._publisher = publisher
        self._at_once = at_once
        self._waiting: deque[_Waiting] = deque()
        self._writers: set[asyncio.Task[None]] = set()
        self._publishing = 0
        # Redis may take two seconds to answer while it is frozen; nothing but publishing waits for it.
        self._publish_thread = ThreadPoolExecutor(1, thread_name_prefix="publish")

    async def submit(self, submissions: Sequence[Submission]) -> list[Outcome]:
        """A receipt or the conflict for each. Once this returns, every check with a receipt cannot be lost.

        Raises `TransientError` (`database_unavailable`): then nothing was accepted, as far as is known.
        """
        if not submissions:
            return []
        waiting = _Waiting(submissions, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        # A writer that has ended is still in the set until the event loop's next round: it would take nothing more.
        self._writers = {writer for writer in self._writers if not writer.done()}
        if len(self._writers) < self._at_once:
            self._writers.add(asyncio.create_task(self._write()))
        return await waiting.outcomes

    def close(self) -> None:
        """Finish what is being published."""
        self._publish_thread.shutdown(wait=True, cancel_futures=True)

    async def _write(self) -> None:
        while self._waiting:
            group = self._take()
            try:
                outcomes: list[list[Outcome]] | SusyError = await run_in_threadpool(self._submit_group, group)
            except SusyError as error:
                outcomes = error
            except Exception as error:  # noqa: BLE001 (each request of the group raises it)
                for waiting in group:
                    _fail(waiting, error)
                continue
            except BaseException as error:
                for waiting in (*group, *self._waiting):
                    _fail(waiting, error)
                raise
            for position, waiting in enumerate(group):
                if isinstance(outcomes, SusyError):
                    _fail(waiting, outcomes)
                elif not waiting.outcomes.done():
                    waiting.outcomes.set_result(outcomes[position])
            if not isinstance(outcomes, SusyError):
                self._publish(group, outcomes)

    def _take(self) -> list[_Waiting]:
        group = [self._waiting.popleft()]
        count = len(group[0].submissions)
        while self._waiting and count + len(self._waiting[0].submissions) <= MAX_STATEMENT:
            group.append(self._waiting.popleft())
            count += len(group[-1].submissions)
        return group

    def _submit_group(self, group: list[_Waiting]) -> list[list[Outcome]]:
        try:
            outcomes = self._store.submit_each([item for waiting in group for item in waiting.submissions])
        except PermanentError:
            # A value that Postgres cannot store: it must fail alone.
            return [[self._submit_alone(item) for item in waiting.submissions] for waiting in group]
        rest = iter(outcomes)
        return [[next(rest) for _ in waiting.submissions] for waiting in group]

    def _submit_alone(self, submission: Submission) -> Outcome:
        try:
            return self._store.submit(submission)
        except PermanentError as error:
            return error

    def _publish(self, group: list[_Waiting], outcomes: list[list[Outcome]]) -> None:
        new: dict[Lane, list[UUID]] = {}
        for waiting, found in zip(group, outcomes, strict=True):
            for submission, outcome in zip(waiting.submissions, found, strict=True):
                if isinstance(outcome, Receipt) and outcome.created:
                    new.setdefault(submission.lane, []).append(outcome.check_id)
        if new and self._publishing < MAX_PUBLISHING:
            self._publishing += 1
            loop = asyncio.get_running_loop()
            done = loop.run_in_executor(self._publish_thread, self._publish_each, new)
            done.add_done_callback(self._published)

    def _publish_each(self, new: dict[Lane, list[UUID]]) -> None:
        for lane, check_ids in new.items():
            publish_new(check_ids, lane, self._store, self._publisher)

    def _published(self, _done: asyncio.Future[None]) -> None:
        self._publishing -= 1


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.outcomes.done():
        # One of its own for each: an exception collects the tracebacks of all who raise it.
        waiting.outcomes.set_exception(type(error)(*error.__reduce__()[1]) if isinstance(error, SusyError) else error)
