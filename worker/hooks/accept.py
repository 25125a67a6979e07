"""Events into the ledger: each upload becomes a check once, whatever is repeated or arrives late."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from schema.messages import Submission
from schema.states import Lane
from worker.errors import ErrorCode, PermanentError
from worker.hooks.events import Event, Ignored, Refused, Skipped, Upload
from worker.hooks.mapping import HooksFile
from worker.hooks.objects import is_older, usable_sequencer
from worker.queue.publisher import Publisher, publish_new
from worker.store import Store

MAY_USE_ALL: Callable[[str], bool] = lambda _source: True  # noqa: E731
"""Every source may be submitted for."""


@dataclass
class Outcome:
    """The outcome of each event of a message."""

    accepted: list[UUID] = field(default_factory=list)
    repeated: list[UUID] = field(default_factory=list)
    """Checks that were accepted before."""
    ignored: Counter[Ignored] = field(default_factory=Counter)
    refused: list[PermanentError] = field(default_factory=list)

    @property
    def check_ids(self) -> list[UUID]:
        """Of all checks that the message was about."""
        return [*self.accepted, *self.repeated]


def accept(
    events: Iterable[Event],
    hooks: HooksFile,
    store: Store,
    publisher: Publisher | None,
    *,
    may_use: Callable[[str], bool] = MAY_USE_ALL,
) -> Outcome:
    """Submit the uploads among `events`; once this returns, they are in Postgres and cannot be lost.

    `may_use` says whether the sender may submit for a source. Nothing is written for what is refused; the other events
    are accepted nevertheless. Raises `TransientError` (`database_unavailable`): then repeat the whole message.
    """
    outcome = Outcome()
    uploads: list[tuple[Upload, Submission]] = []
    for event in events:
        if isinstance(event, Skipped):
            outcome.ignored[event.reason] += 1
        elif isinstance(event, Refused):
            outcome.refused.append(event.error)
        else:
            try:
                submission = hooks.submission(event)
                if isinstance(submission, Ignored):
                    outcome.ignored[submission] += 1
                else:
                    _require_allowed(submission.source, may_use)
                    uploads.append((event, submission))
            except PermanentError as error:
                outcome.refused.append(error)
    current = _without_superseded(uploads, store)
    outcome.ignored[Ignored.SUPERSEDED] += len(uploads) - len(current)
    outcome.ignored = +outcome.ignored
    _submit(current, store, publisher, outcome)
    return outcome


def _require_allowed(source: str, may_use: Callable[[str], bool]) -> None:
    if not may_use(source):
        raise PermanentError(
            ErrorCode.FORBIDDEN_SOURCE, f"the key may not submit for the source {source!r}; give it one that may"
        )


def _without_superseded(uploads: Sequence[tuple[Upload, Submission]], store: Store) -> list[Submission]:
    """The submissions of which no later event is known: what their events reported has been overwritten since.

    A version is never overwritten, so events that name one are all kept.
    """
    sequencers = [None if upload.version_id else usable_sequencer(upload.sequencer) for upload, _ in uploads]
    objects = [hashlib.sha256(submission.uri.encode()).digest() for _, submission in uploads]
    newest: dict[bytes, str] = {}
    for key, sequencer in zip(objects, sequencers, strict=True):
        if sequencer is not None and (key not in newest or is_older(newest[key], sequencer)):
            newest[key] = sequencer
    if newest:
        newest |= store.hooks.note_sequencers(newest)
    return [
        submission
        for (_, submission), key, sequencer in zip(uploads, objects, sequencers, strict=True)
        if sequencer is None or not is_older(sequencer, newest[key])
    ]


def _submit(submissions: Sequence[Submission], store: Store, publisher: Publisher | None, outcome: Outcome) -> None:
    created: dict[Lane, list[UUID]] = {}
    for submission, receipt in zip(submissions, store.submit_each(submissions), strict=True):
        if isinstance(receipt, PermanentError):
            outcome.refused.append(receipt)
        elif receipt.created:
            outcome.accepted.append(receipt.check_id)
            created.setdefault(submission.lane, []).append(receipt.check_id)
        else:
            outcome.repeated.append(receipt.check_id)
    if publisher is not None:
        for lane, check_ids in created.items():
            publish_new(check_ids, lane, store, publisher)
