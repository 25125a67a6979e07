"""Standard Webhooks 1.0 as a platform sends them to us: `{"type": "image.uploaded", "timestamp": …, "data": {…}}`.

The signature has been verified before (`worker.hooks.signatures`), so `webhook-id` can be relied on: it stays the same
when a message is sent again.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from worker.hooks.events import Event, Ignored, Message, Payload, Skipped, parse_object, validated
from worker.hooks.senders import platform

_WHAT = "the webhook"


class _Body(Payload):
    type: Annotated[str, Field(min_length=1)]
    data: Any = None


def read(message: Message) -> list[Event]:
    """The one event of a message."""
    body = validated(_Body, parse_object(message.body, _WHAT), _WHAT)
    if body.type == platform.UPLOADED:
        event_id = f"webhook:{message.headers.get('webhook-id', '')}"
        return [platform.uploaded(body.data, event_id=event_id, what=f"the data of {_WHAT}")]
    return [Skipped(Ignored.DELETED if body.type == platform.DELETED else Ignored.NOT_AN_UPLOAD)]
