"""`susy consume`: take upload events from a queue, until told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Annotated

import typer

from worker.errors import ConfigurationError, ErrorCode
from worker.extras import needs
from worker.hooks.consume import Queue, consume
from worker.hooks.mapping import load_hooks
from worker.log import configure_logging
from worker.settings import Settings, load_settings

app = typer.Typer(help="Take upload events from a queue and submit the images that they name.", no_args_is_help=True)

Threads = Annotated[int, typer.Option(min=1, max=64, help="Messages are taken by so many threads.")]


@app.command("sqs")
@needs("aws")
def sqs(
    url: Annotated[str, typer.Argument(help="URL of the queue.", metavar="QUEUE_URL")],
    threads: Threads = 2,
) -> None:
    """Consume a queue of Amazon SQS, or of a server with its protocol."""
    from worker.hooks.sqs import SqsQueue

    def queues(_settings: Settings) -> Sequence[Queue]:
        queue = SqsQueue(url)
        queue.require()
        return [queue] * threads  # boto3's client may be shared between threads

    _run(queues, threads)


@app.command("stream")
def stream(
    name: Annotated[str, typer.Argument(help="Key of the stream, on the server of SUSY_REDIS_URL.", metavar="STREAM")],
    group: Annotated[str, typer.Option(help="Name of the consumer group.")] = "susy",
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove entries once the ledger has them; other groups then miss them.")
    ] = False,
    threads: Threads = 1,
) -> None:
    """Consume a stream of Redis or Valkey."""
    from worker.hooks.stream import RedisStream

    def queues(settings: Settings) -> Sequence[Queue]:
        return [RedisStream(settings.require_redis(), name, group=group, delete=delete) for _ in range(threads)]

    _run(queues, threads)


def _run(make_queues: Callable[[Settings], Sequence[Queue]], threads: int) -> None:
    from worker.queue.publisher import Publisher
    from worker.store import Store

    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    if settings.hooks_file is None:
        raise ConfigurationError(ErrorCode.SETTINGS, "SUSY_HOOKS_FILE is not set; it maps buckets to sources")
    hooks = load_hooks(settings.hooks_file)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with ExitStack() as stack:
        store = stack.enter_context(Store(settings.require_database_url(), pool_size=threads))
        publisher = stack.enter_context(Publisher(settings))
        consume(make_queues(settings), hooks, store, publisher, stopped)
