"""Queues with the protocol of Amazon SQS, through boto3 (the extra `aws`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from worker.errors import ConfigurationError, ErrorCode, TransientError
from worker.extras import require_extra
from worker.hooks.consume import Received

LONG_POLL = 5
"""Seconds that the queue waits for a message before it answers; a consumer that is told to stop waits as long."""
AT_ONCE = 10
"""Most messages of one answer; SQS allows no more."""
_HOST = re.compile(r"sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


class SqsQueue:
    """One queue. Credentials come from where boto3 looks for them."""

    def __init__(self, url: str, *, long_poll: int = LONG_POLL) -> None:
        """Raises `ConfigurationError` (`missing_extra`, `settings` for a URL or credentials that cannot be)."""
        require_extra("aws", what="an SQS queue")
        import botocore.config
        import botocore.exceptions
        import botocore.session

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigurationError(
                ErrorCode.SETTINGS, "the queue is not a URL such as https://sqs.eu-west-1.amazonaws.com/123/uploads"
            )
        amazon = _HOST.fullmatch(parts.hostname)
        session = botocore.session.get_session()
        region = (amazon["region"] if amazon else None) or session.get_config_variable("region") or "us-east-1"
        self.name = f"sqs:{parts.path.rpartition('/')[2]}"
        self._url = url
        self._long_poll = long_poll
        self._errors = botocore.exceptions
        self._client: Any = session.create_client(
            "sqs",
            region_name=region,
            endpoint_url=None if amazon else f"{parts.scheme}://{parts.netloc}",
            config=botocore.config.Config(
                connect_timeout=5, read_timeout=long_poll + 10, retries={"mode": "standard", "total_max_attempts": 2}
            ),
        )

    def require(self) -> None:
        """Return when the queue may be read. Raises `ConfigurationError(queue_missing)` or `TransientError`."""
        self._call("get_queue_attributes", AttributeNames=["VisibilityTimeout"])

    def receive(self) -> Sequence[Received]:
        """Up to ten messages."""
        answer = self._call("receive_message", MaxNumberOfMessages=AT_ONCE, WaitTimeSeconds=self._long_poll)
        return [
            Received(message["ReceiptHandle"], message["Body"].encode(errors="replace"))
            for message in answer.get("Messages", ())
        ]

    def done(self, messages: Sequence[Received]) -> None:
        """Delete the messages. One that cannot be deleted is delivered again, and recognized."""
        entries = [{"Id": str(number), "ReceiptHandle": message.handle} for number, message in enumerate(messages)]
        self._call("delete_message_batch", Entries=entries)

    def _call(self, operation: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client, operation)(QueueUrl=self._url, **parameters)
        except self._errors.NoCredentialsError as error:
            raise ConfigurationError(
                ErrorCode.SETTINGS, "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except self._errors.ClientError as error:
            answer = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            why = f"{self.name}: {answer.get('Code')}: {answer.get('Message')}"
            if 400 <= status < 500 and status not in (408, 429) and "Throttl" not in str(answer.get("Code")):
                raise ConfigurationError(ErrorCode.QUEUE_MISSING, why) from error
            raise TransientError(ErrorCode.QUEUE_UNAVAILABLE, why) from error
        except self._errors.BotoCoreError as error:
            raise TransientError(ErrorCode.QUEUE_UNAVAILABLE, f"{self.name}: {error}") from error
