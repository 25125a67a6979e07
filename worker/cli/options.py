"""Options and arguments that several commands have, and how their values are read."""

from __future__ import annotations

import getpass
import os
import sys
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from worker.cli.output import notes
from worker.errors import ConfigurationError, ErrorCode
from worker.settings.units import parse_duration

Choice = TypeVar("Choice", bound=StrEnum)

Since = Annotated[
    str | None, typer.Option(help="Not before this time: 2026-01-31T08:00, or 2h for two hours ago (s, m, h, d).")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
By = Annotated[str | None, typer.Option(help="Who; by default the user of this machine.")]
LoggedBy = Annotated[
    str | None, typer.Option("--by", help="Who, for the audit log; by default the user of this machine.")
]


def moment(text: str | None, now: datetime) -> datetime | None:
    """A point in time as an operator writes it; in this machine's time zone when it names none."""
    if text is None:
        return None
    try:
        if text.strip().endswith(("s", "m", "h", "d")):
            return now - timedelta(seconds=parse_duration(text))
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is not a time; write 2026-01-31T08:00, or 2h for two hours ago") from None


def confirm(yes: bool) -> None:
    """Ask whether to continue, unless `yes`; exit when the answer is no, or when there is no terminal to ask on."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal for the confirmation; add --yes, or --dry-run to only count")
    _ask()


def confirm_undoable(yes: bool, what: str) -> None:
    """Say what is about to happen and ask, where somebody can answer: it can be undone, so scripts need not confirm."""
    if not yes and sys.stdin.isatty():
        notes.print(what)
        _ask()


def _ask() -> None:
    if not typer.confirm("Continue?", err=True):
        notes.print("Nothing was changed.")
        raise typer.Exit(1)


def author(by: str | None) -> str:
    """Who changes something: the name that was given, or the user of this machine. Raises `BadParameter`."""
    return stated("--by", _user() if by is None else by)


def logged(by: str | None) -> str:
    """As `author`, for what the audit log names; empty where the machine knows no name, and the login has to do."""
    return _user() if by is None else stated("--by", by)


def _user() -> str:
    """Who runs this: also behind `sudo`. Empty for a user without a name, as containers may have."""
    if name := os.environ.get("SUDO_USER") or os.environ.get("USER"):
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def stated(option: str, text: str) -> str:
    """A text on one line. Raises `BadParameter` when it is empty."""
    if not text.strip():
        raise typer.BadParameter("must not be empty", param_hint=option)
    return " ".join(text.split())


def split_names(names: str) -> list[str]:
    """`a,b` → [`a`, `b`]."""
    return [name.strip() for name in names.split(",") if name.strip()]


def one_of(choices: type[Choice], name: str, option: str) -> Choice:
    """The choice of that name; raises `ConfigurationError` that names all choices."""
    try:
        return choices(name)
    except ValueError:
        raise ConfigurationError(ErrorCode.SETTINGS, f"{option} {name}: it is one of {', '.join(choices)}") from None
