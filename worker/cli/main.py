"""The `susy` command: assembled here, one module a group of commands."""

from __future__ import annotations

import os
import signal
import sys

import typer

from worker.cli import (
    backlog,
    calibrate,
    check,
    data,
    db,
    demo,
    doctor,
    evaluate,
    health,
    policy,
    show,
    stability,
    submit,
    train,
    up,
    weights,
    work,
)
from worker.errors import SetupError, SusyError
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
app.command("show")(show.show)
app.command("worker")(work.worker)
app.command("reconciler")(work.reconciler)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("stability")(stability.stability)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("doctor")(doctor.doctor)
app.command("health")(health.health)
app.add_typer(backlog.app, name="backlog")
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(policy.app, name="policy")
app.add_typer(db.app, name="db")


def run() -> None:
    """Run the command line. Exit codes: 0 done, 1 some item failed, 2 wrong usage or setup."""
    if os.getpid() == 1:
        # The kernel gives process 1 of a container no default action for SIGTERM. Without a handler, stopping a
        # container that is still starting takes the whole grace period. Long-running commands install their own later.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    configure_logging(LogFormat.AUTO, "WARNING")  # for short commands; long-running ones follow their settings
    try:
        app()
    except SetupError as error:
        sys.exit(_explain(error, 2))
    except SusyError as error:
        sys.exit(_explain(error, 1))
    except KeyboardInterrupt:
        sys.exit(130)


def _explain(error: SusyError, exit_code: int) -> int:
    print(f"susy: {error}", file=sys.stderr)
    return exit_code
