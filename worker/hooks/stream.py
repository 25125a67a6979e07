"""A stream of Redis or Valkey, read by a consumer group.

Entries that a consumer was given and did not acknowledge, because it was killed, are claimed by another one after a
minute (XAUTOCLAIM).
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from worker.errors import ErrorCode, PermanentError, TransientError
from worker.hooks.consume import Received
from worker.log import get_logger
from worker.settings.redis_url import RedisUrl

log = get_logger(__name__)

FIELD = "event"
"""The field of an entry that holds the message. An entry with a single field may give it any name."""
AT_ONCE = 50
CLAIM_AFTER = 60.0
"""Seconds after which an entry that was given to a consumer and not acknowledged is given to another one."""
MAX_DELIVERIES = 10
"""Deliveries after which an entry is rejected: the consumers that it was given to have all ended."""
FORGET_CONSUMER_AFTER = 3600.0
"""Seconds after which a consumer without entries is removed from the group."""


class RedisStream:
    """One consumer of a group. Creates stream and group if they do not exist."""

    def __init__(
        self,
        url: RedisUrl,
        stream: str,
        *,
        group: str = "susy",
        delete: bool = False,
        block: float = 2.0,
        claim_after: float = CLAIM_AFTER,
    ) -> None:
        """`delete`: remove entries from the stream once the ledger has them; other groups do not see them then.

        `block` and `claim_after` are in seconds.
        """
        self.name = f"stream:{stream}"
        self._redis = url.client(timeout=block + 10)
        self._stream, self._group = stream, group
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._delete = delete
        self._block = int(block * 1000)
        self._claim_after = int(claim_after * 1000)
        self._is_ready = False

    def receive(self) -> Sequence[Received]:
        """Entries of consumers that are gone, or else new ones."""
        try:
            if not self._is_ready:
                self._prepare()
            claimed = self._claimed()
            if claimed:
                return claimed
            answer = self._redis.xreadgroup(
                self._group, self._consumer, {self._stream: ">"}, count=AT_ONCE, block=self._block
            )
        except ResponseError as error:
            self._is_ready = not str(error).startswith("NOGROUP")  # Redis lost its data: the group is made again
            raise _unavailable(error) from error
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return [_received(entry, fields) for _, entries in _pairs(answer) for entry, fields in entries]

    def done(self, messages: Sequence[Received]) -> None:
        """Acknowledge the entries."""
        entries = [message.handle for message in messages]
        try:
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.xack(self._stream, self._group, *entries)
                if self._delete:
                    pipeline.xdel(self._stream, *entries)
                pipeline.execute()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _prepare(self) -> None:
        try:
            self._redis.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        for consumer in self._redis.xinfo_consumers(self._stream, self._group):
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_CONSUMER_AFTER * 1000:
                self._redis.xgroup_delconsumer(self._stream, self._group, consumer["name"])
        self._is_ready = True

    def _claimed(self) -> list[Received]:
        answer = self._redis.xautoclaim(
            self._stream, self._group, self._consumer, min_idle_time=self._claim_after, count=AT_ONCE
        )
        entries = [(entry, fields) for entry, fields in answer[1] if fields is not None]
        if not entries:
            return []
        log.info("entries_claimed", stream=self._stream, entries=len(entries))
        deliveries: dict[Any, Any] = {
            pending["message_id"]: pending["times_delivered"]
            for pending in self._redis.xpending_range(
                self._stream, self._group, entries[0][0], entries[-1][0], AT_ONCE, self._consumer
            )
        }
        return [
            Received(
                entry.decode(),
                _body(fields),
                PermanentError(
                    ErrorCode.UNEXPECTED,
                    f"the entry was delivered {deliveries[entry]} times, and no consumer lived to acknowledge it",
                ),
            )
            if deliveries.get(entry, 0) > MAX_DELIVERIES
            else _received(entry, fields)
            for entry, fields in entries
        ]


def _pairs(answer: Any) -> Any:
    """The streams of an answer: a list of pairs, or a mapping where the client uses RESP3."""
    if not answer:
        return ()
    return [(name, entries[0]) for name, entries in answer.items()] if isinstance(answer, dict) else answer


def _received(entry: bytes, fields: dict[bytes, bytes]) -> Received:
    if FIELD.encode() in fields or len(fields) == 1:
        return Received(entry.decode(), _body(fields))
    error = PermanentError(
        ErrorCode.INVALID_EVENT, f"the entry has {len(fields)} fields, none of them {FIELD}; put the message there"
    )
    return Received(entry.decode(), _body(fields), error)


def _body(fields: dict[bytes, bytes]) -> bytes:
    if FIELD.encode() in fields or len(fields) == 1:
        return fields.get(FIELD.encode()) or next(iter(fields.values()))
    return repr(fields).encode()


def _unavailable(error: Exception) -> TransientError:
    return TransientError(ErrorCode.QUEUE_UNAVAILABLE, f"Redis did not answer: {error}")
