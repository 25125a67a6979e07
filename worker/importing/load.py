"""Submitting records to the ledger in batches. The reconciler publishes them, so Redis holds no more than usual."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from worker.errors import PermanentError, SusyError
from worker.importing.records import MAX_TEXT, Record, Reject
from worker.queue.retry import retry_while_unavailable
from worker.store import Receipt, Store

BATCH = 1000
"""Most records in one statement."""
BATCH_TEXT = 4_000_000
"""Most characters of records in one statement, so that long lines need no more memory than short ones."""
CHECKERS = 8
"""Threads that look whether files exist, because a network disk is slow to answer."""


@dataclass(frozen=True)
class Summary:
    """The result of the lines or files so far."""

    lines: int = 0
    accepted: int = 0
    repeated: int = 0
    """Accepted before, from an earlier run or an earlier line."""
    rejected: int = 0


Located = Callable[[str], object]


def load(
    items: Iterable[Record | Reject],
    store: Store,
    *,
    locate: Located | None,
    reject: Callable[[Reject], None],
    progress: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Submit every record that `locate` finds (all, without it); pass the others to `reject`.

    A record that was accepted before counts as repeated, so an import that was interrupted can be run again. Waits
    while Postgres is unavailable.
    """
    summary = Summary()
    with ThreadPoolExecutor(CHECKERS, thread_name_prefix="locate") as pool:
        for batch in _batches(items):
            outcomes = _outcomes(_located(batch, locate, pool), store)
            rejects = sorted((item for item in outcomes if isinstance(item, Reject)), key=lambda item: item.number)
            for item in rejects:
                reject(item)
            created = [item.created for item in outcomes if isinstance(item, Receipt)]
            summary = replace(
                summary,
                lines=summary.lines + len(batch),
                accepted=summary.accepted + sum(created),
                repeated=summary.repeated + len(created) - sum(created),
                rejected=summary.rejected + len(rejects),
            )
            progress(summary)
    return summary


def _batches(items: Iterable[Record | Reject]) -> Iterator[list[Record | Reject]]:
    batch: list[Record | Reject] = []
    text = 0
    for item in items:
        batch.append(item)
        text += len(item.text)
        if len(batch) >= BATCH or text >= BATCH_TEXT:
            yield batch
            batch, text = [], 0
    if batch:
        yield batch


def _located(batch: list[Record | Reject], locate: Located | None, pool: ThreadPoolExecutor) -> list[Record | Reject]:
    if locate is None:
        return batch

    def check(items: list[Record | Reject]) -> list[Record | Reject]:
        return [_missing(item, locate) or item if isinstance(item, Record) else item for item in items]

    size = -(-len(batch) // CHECKERS)
    parts = [batch[start : start + size] for start in range(0, len(batch), size)]
    return [item for part in pool.map(check, parts) for item in part]


def _missing(record: Record, locate: Located) -> Reject | None:
    try:
        locate(record.submission.uri)
    except SusyError as error:
        return _rejected(record, error)
    return None


def _outcomes(batch: list[Record | Reject], store: Store) -> list[Receipt | Reject]:
    records = [item for item in batch if isinstance(item, Record)]
    return [*(item for item in batch if isinstance(item, Reject)), *_submit(records, store)]


def _submit(records: list[Record], store: Store) -> list[Receipt | Reject]:
    if not records:
        return []
    try:
        submissions = [record.submission for record in records]
        outcomes = retry_while_unavailable(store.submit_each, submissions)
    except PermanentError as error:
        # One value that Postgres cannot store fails its whole batch; halving the batch finds it.
        if len(records) == 1:
            return [_rejected(records[0], error)]
        middle = len(records) // 2
        return _submit(records[:middle], store) + _submit(records[middle:], store)
    return [
        outcome if isinstance(outcome, Receipt) else _rejected(record, outcome)
        for record, outcome in zip(records, outcomes, strict=True)
    ]


def _rejected(record: Record, error: SusyError) -> Reject:
    return Reject(record.number, str(error.code), error.message, record.text[:MAX_TEXT])
