"""What commands print arrives where it was sent, or the command says that it did not."""

from __future__ import annotations

import os
import pty
from pathlib import Path
from typing import Literal

import pytest

from tests.support.commands import CLOSED, SUSY, Processes, Susy, run
from tests.support.forks import ForkServer

NAME = "日本 é \U0001f600.png"
FULL = Path("/dev/full")
NOT_WRITTEN = "susy: input or output failed: No space left on device; check where standard output leads\n"


@pytest.fixture
def command_variables(random_weights: Path, forks_with_weights: ForkServer) -> dict[str, str]:
    return {"SUSY_WEIGHTS": str(random_weights)}


@pytest.fixture
def named(images: Path) -> Path:
    (images / "a.png").rename(images / NAME)
    return images / NAME


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_name_is_printed_in_any_encoding(bare_processes: Processes, named: Path, encoding: str) -> None:
    printed = bare_processes.run("check", "--json", named, PYTHONIOENCODING=encoding)
    assert (printed.code, printed.document["path"]) == (0, str(named))
    table = bare_processes.run("check", named, "absent é", encoding=encoding, PYTHONIOENCODING=encoding, COLUMNS="500")
    assert table.code == 1
    assert str(named).encode(encoding, "backslashreplace").decode(encoding) in table.stdout
    assert "Traceback" not in table.stderr


def test_json_goes_to_stdout_also_while_a_progress_bar_is_on_the_terminal(
    bare_processes: Processes, images: Path, named: Path
) -> None:
    terminal, bar = pty.openpty()
    ended = bare_processes.run(
        "check", "--json", named, images / "small.png", stderr=Path(os.ttyname(bar)), TERM="xterm"
    )
    os.close(bar)
    assert b"checking" in os.read(terminal, 100_000)
    os.close(terminal)
    assert ended.code == 0
    assert [document["path"] for document in ended.documents] == [str(named), str(images / "small.png")]


@pytest.mark.parametrize("options", [["check", "--json"], ["check"], ["--help"]])
def test_an_output_that_cannot_be_written_is_an_error_in_one_line(
    bare_processes: Processes, images: Path, options: list[str]
) -> None:
    result = bare_processes.run(*options, images / "small.png", stdout=FULL)
    assert (result.code, result.stderr) == (1, NOT_WRITTEN)


def test_a_started_interpreter_does_not_try_again_when_it_exits(tmp_path: Path) -> None:
    result = run("sh", "-c", f'exec "$@" > {FULL}', "sh", *SUSY, "--help", folder=tmp_path)
    assert (result.code, result.stderr) == (1, NOT_WRITTEN)


@pytest.mark.parametrize("closed", [("stdout",), ("stdout", "stderr"), ("stdin", "stdout", "stderr")])
def test_a_command_works_with_closed_streams(
    bare_processes: Processes, images: Path, closed: tuple[Literal["stdin", "stdout", "stderr"], ...]
) -> None:
    streams = dict.fromkeys(closed, CLOSED)
    assert bare_processes.run("check", "--json", images / "small.png", **streams).code == 0  # type: ignore[arg-type]
    assert bare_processes.run("check", "--json", images / "absent.png", **streams).code == 1  # type: ignore[arg-type]


def test_a_started_interpreter_works_with_all_streams_closed(images: Path, command_variables: dict[str, str]) -> None:
    """What it imports may open files, which get the numbers of the streams."""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *SUSY, "check", "--json", "small.png"]
    assert run(*command, folder=images, **command_variables).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", ""],
        ["check", "--json", ""],
        ["submit", "a.png", ""],
        ["backlog", "import", ""],
        ["show", "--overlay="],
    ],
)
def test_an_empty_argument_is_not_the_working_folder(susy: Susy, images: Path, arguments: list[str]) -> None:
    result = susy(*arguments, folder=images)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr == "susy: an argument is empty; is a variable of your shell not set?\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["policy", "apply", "uploads@0123456789ab", "--reason", "caf\udce9"],
        ["review", "0" * 32, "authentic", "--note=\udcff", "--by", "ada"],
        ["drift", "--source", "\udcff"],
    ],
)
def test_text_that_is_not_utf_8_is_refused_by_its_option_before_postgres_sees_it(
    susy: Susy, images: Path, arguments: list[str]
) -> None:
    result = susy(*arguments, folder=images)
    assert (result.code, result.stdout) == (2, "")
    option = next(argument.split("=")[0] for argument in arguments if argument.startswith("--"))
    assert result.stderr.startswith(f"susy: {option} is not UTF-8 text; ")
