"""What Redis knows of the messages that a worker holds: kombu's bookkeeping, but not of hints.

kombu writes each message that it takes into a hash and a sorted set, and removes it from both when it is acknowledged,
so that another worker is given what a dead one held. A hint needs none of this: the ledger knows its check, and the
reconciler publishes it again (`docs/decisions/0039-hints-are-not-kept.md`). Submissions and invalid items are in Redis
alone, so they are kept as kombu does it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import virtual
from kombu.transport.redis import Channel, QoS
from redis import Redis

from schema.messages import CHECK_TASK, SUBMIT_QUEUE
from worker.queue.messages import envelope, hinted_check


class SharedClient:
    """One Redis client for all acknowledgements of a channel.

    kombu makes a client for each, which takes 0.2 ms because a client builds a table of all commands. The client has no
    connection of its own; it takes one from the channel's pool, which kombu replaces when it reconnects.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._client: Redis | None = None

    @contextmanager
    def __call__(self, client: Redis | None = None) -> Iterator[Redis]:
        """What `kombu.transport.redis.Channel.conn_or_acquire` does: the given client, or else one of the channel's."""
        if client is None:
            if self._client is None or self._client.connection_pool is not self._channel.pool:
                self._client = self._channel._create_client()
            client = self._client
        yield client


class LedgerQoS(QoS):
    """The messages that a worker holds, of which hints are known to this process alone.

    Hints count towards the messages that a worker may hold. Those of a worker that stops in order return to their
    queue; those of one that dies or loses its connection are forgotten.

    Two guards: an entry that cannot be restored would end each round of restoring before the entries behind it, and a
    message that cannot be acknowledged would take a slot for as long as the connection lasts.
    """

    def append(self, message: Any, delivery_tag: Any) -> None:
        if hinted_check(message.headers) is not None:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call]

    def ack(self, delivery_tag: Any) -> None:
        if self._held_hint(delivery_tag) is not None:
            self._quick_ack(delivery_tag)
            return
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except Exception:
            self._quick_ack(delivery_tag)  # frees the slot; the message is redelivered
            raise

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        with self.channel.conn_or_acquire(client) as connected:
            if (hint := self._held_hint(tag)) is not None:
                check_id, lane = hint
                push = connected.lpush if leftmost else connected.rpush
                push(lane, envelope(CHECK_TASK, lane, [check_id]))
                return
            raw = connected.hget(self.unacked_key, tag)
            if raw is None or _is_restorable(raw):
                super().restore_by_tag(tag, connected, leftmost)  # type: ignore[no-untyped-call]
                return
            # Pushed as it is, it is stored as any other item that is not a message.
            with connected.pipeline() as pipeline:
                pipeline.zrem(self.unacked_index_key, tag).hdel(self.unacked_key, tag).lpush(SUBMIT_QUEUE, raw)
                pipeline.execute()

    @contextmanager
    def pipe_or_acquire(self, pipe: Any = None, client: Any = None) -> Iterator[Any]:
        """kombu's, without MULTI and EXEC, half of the commands: what an entry half written or half removed leaves is
        at most a tag in the sorted set without a message, which restoring removes."""
        with self.channel.conn_or_acquire(client) as connected:
            yield pipe or connected.pipeline(transaction=False)

    def _remove_from_indices(self, delivery_tag: Any, pipe: Any = None) -> Any:
        with self.pipe_or_acquire(pipe) as pipeline:
            return pipeline.hdel(self.unacked_key, delivery_tag).zrem(self.unacked_index_key, delivery_tag)

    def _held_hint(self, tag: Any) -> tuple[str, str] | None:
        """The check and the lane of the hint of this tag, where this process holds one."""
        message = self._delivered.get(tag)
        if message is None or (check_id := hinted_check(message.headers)) is None:
            return None
        return check_id, message.delivery_info["routing_key"]


Channel.QoS = LedgerQoS  # kombu restores messages while it connects, before it hands out the channel


def _is_restorable(raw: bytes) -> bool:
    """Whether this is what kombu stores: a message, its exchange and its routing key."""
    match _parsed(raw):
        case [{"headers": dict(), "properties": {"delivery_info": dict()}}, str(), str()]:
            return True
    return False


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
