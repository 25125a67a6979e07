"""The senders by name, and the one that a message without a name comes from."""

from __future__ import annotations

from collections.abc import Mapping

from worker.hooks.events import Event, Message, Reader, parse_json
from worker.hooks.senders import cloudevents, eventbridge, s3, seaweedfs, sns, tusd, webhook

SENDERS: Mapping[str, Reader] = {
    "tusd": tusd.read,
    "s3": s3.read,
    "minio": s3.read,
    "seaweedfs": seaweedfs.read,
    "eventbridge": eventbridge.read,
    "sns": sns.read,
    "cloudevents": cloudevents.read,
    "webhook": webhook.read,
}
"""What stands in `/v1/hooks/{sender}`, and reads what is sent there."""


def read_any(message: Message) -> list[Event]:
    """The events of a message from a queue, where any of these senders may have put it.

    A Standard Webhook is not among them, because its body does not identify it.
    """
    return _recognized(message)(message)


def _recognized(message: Message) -> Reader:
    document = parse_json(message.body, "the message")
    match document:
        case {"Type": "Notification" | "SubscriptionConfirmation" | "UnsubscribeConfirmation", "TopicArn": _}:
            return sns.read
        case {"detail-type": _}:
            return eventbridge.read
        case {"specversion": _} | [*_]:
            return cloudevents.read
        case {"event_type": _, "message": _}:
            return seaweedfs.read
        case {"Type": _, "Event": _}:
            return tusd.read
    return s3.read
