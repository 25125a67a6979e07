"""The `susy` command, assembled from one module per command or group of commands."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import typer
from typer.main import get_command

from worker.cli.checks import backlog, check, explain, prune, review, reviews, show, submit, sweep
from worker.cli.demo import demo
from worker.cli.lab import calibrate, data, evaluate, stability, train, weights
from worker.cli.output import prepare_streams
from worker.cli.policies import cases, drift, policy
from worker.cli.services import callbacks, capacity, consume, db, doctor, endpoint, health, key, serve, up, work
from worker.errors import SetupError, SusyError, printable
from worker.log import configure_logging
from worker.settings import LogFormat

app = typer.Typer(
    name="susy",
    help="Find synthetic images: check them here, or queue them for workers. Settings are SUSY_… variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("check")(check.check)
app.command("submit")(submit.submit)
app.command("sweep")(sweep.sweep)
app.command("show")(show.show)
app.command("explain")(explain.explain)
app.command("prune")(prune.prune)
app.command("review")(review.review)
app.command("worker")(work.worker)
app.command("reconciler")(work.reconciler)
app.command("serve")(serve.serve)
app.command("deliver")(work.deliver)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("stability")(stability.stability)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("drift")(drift.drift)
app.command("capacity")(capacity.capacity)
app.command("doctor")(doctor.doctor)
app.command("health")(health.health)
app.add_typer(backlog.app, name="backlog")
app.add_typer(reviews.app, name="reviews")
app.add_typer(endpoint.app, name="endpoint")
app.add_typer(callbacks.app, name="callbacks")
app.add_typer(consume.app, name="consume")
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(policy.app, name="policy")
app.add_typer(cases.app, name="cases")
app.add_typer(db.app, name="db")
app.add_typer(key.app, name="key")


TEXT_OPTIONS = {"--by", "--external-id", "--name", "--note", "--reason", "--source"}
"""Whose values are kept or compared as text, which Postgres has in UTF-8."""


@functools.cache
def command() -> Callable[[], Any]:
    """The command line as it is run. Typer would build it again for each call, which takes a twentieth of a second."""
    return get_command(app)


def _not_text(arguments: list[str]) -> str | None:
    """The option whose value is kept as text, but is not UTF-8. Paths may have any bytes."""
    for option, value in [*pairwise(arguments), *(argument.split("=", 1) for argument in arguments if "=" in argument)]:
        if option in TEXT_OPTIONS and any("\udc80" <= character <= "\udcff" for character in value):
            return option
    return None


def run() -> None:
    """Run the command line. Exit codes: 0 done, 1 some item failed, 2 wrong usage or setup."""
    if os.getpid() == 1:
        # The kernel gives process 1 of a container no default action for SIGTERM. Without a handler, stopping a
        # container that is still starting takes the whole grace period. Long-running commands install their own later.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    prepare_streams()
    configure_logging(LogFormat.AUTO, "WARNING")  # for short commands; long-running ones follow their settings
    if any(re.fullmatch("(--[a-z-]+=)?", argument) for argument in sys.argv[1:]):
        # As a path it would mean the whole working folder.
        sys.exit(_explain("an argument is empty; is a variable of your shell not set?", 2))
    if option := _not_text(sys.argv[1:]):
        sys.exit(_explain(f"{option} is not UTF-8 text; write it again in a terminal whose encoding is UTF-8", 2))
    try:
        command()()
    except SetupError as error:
        sys.exit(_explain(error, 2))
    except SusyError as error:
        sys.exit(_explain(error, 1))
    except OSError as error:
        sys.exit(_explain(_system_error(error), 1))
    except KeyboardInterrupt:
        sys.exit(130)


def _explain(error: SusyError | str, exit_code: int) -> int:
    print(f"susy: {error}", file=sys.stderr)
    return exit_code


def _system_error(error: OSError) -> str:
    """What the operating system refused, in one line that names the file or, without one, the output."""
    reason = printable(error.strerror or str(error) or type(error).__name__)
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)!r}: {reason}"
    try:
        sys.stdout.flush()
    except OSError:  # Python would try once more when it exits, and print that failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return f"input or output failed: {reason}; check where standard output leads"
