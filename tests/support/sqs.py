"""A server that speaks the protocol of Amazon SQS: moto in server mode, with boto3's own client."""

from __future__ import annotations

import statistics
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class SqsServer:
    """A running server."""

    endpoint: str

    def client(self) -> Any:
        """boto3's client of SQS."""
        import boto3

        return boto3.client(
            "sqs",
            endpoint_url=self.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )

    def queue(self, **attributes: str) -> TestQueue:
        """A new queue."""
        client = self.client()
        answer = client.create_queue(QueueName=f"uploads-{uuid.uuid4().hex[:8]}", Attributes=attributes)
        return TestQueue(client, answer["QueueUrl"])


@dataclass(frozen=True)
class TestQueue:
    """One queue of the server."""

    __test__ = False

    client: Any
    url: str

    def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            self.client.send_message_batch(QueueUrl=self.url, Entries=entries)

    def remaining(self) -> int:
        """Messages that wait or are being worked on.

        The service counts the two one after the other: a message that changes from one to the other in between is in
        neither, or in both. Of three looks, at most one meets that.
        """
        return statistics.median_low(self._count() for _ in range(3))

    def _count(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


@pytest.fixture(scope="session")
def sqs_server() -> Iterator[SqsServer]:
    """A server for all tests of a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that moto imports
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    yield SqsServer(f"http://{host}:{port}")
    server.stop()
