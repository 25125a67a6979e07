"""What commands print arrives where it was sent, or the command says that it did not."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path

import pytest

from tests.support.commands import SUSY, run

NAME = "日本 é \U0001f600.png"


@pytest.fixture
def named(images: Path, random_weights: Path) -> Path:
    (images / "a.png").rename(images / NAME)
    return images


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_name_is_printed_in_any_encoding(named: Path, random_weights: Path, encoding: str) -> None:
    variables = {"SUSY_WEIGHTS": str(random_weights), "PYTHONIOENCODING": encoding}
    printed = run(*SUSY, "check", "--json", NAME, folder=named, **variables)
    assert (printed.code, printed.document["path"]) == (0, NAME)
    table = run(*SUSY, "check", NAME, "absent é", folder=named, encoding=encoding, **variables)
    assert table.code == 1
    assert NAME.encode(encoding, "backslashreplace").decode(encoding) in table.stdout
    assert "Traceback" not in table.stderr


def test_json_goes_to_stdout_also_while_a_progress_bar_is_on_the_terminal(named: Path, random_weights: Path) -> None:
    terminal, bar = pty.openpty()
    shell = 'exec "$@" > out.jsonl 2> "$BAR"'
    variables = {"SUSY_WEIGHTS": str(random_weights), "TERM": "xterm", "BAR": os.ttyname(bar)}
    ended = run("sh", "-c", shell, "sh", *SUSY, "check", "--json", NAME, "small.png", folder=named, **variables)
    os.close(bar)
    documents = [json.loads(line) for line in (named / "out.jsonl").read_text().splitlines()]
    assert b"checking" in os.read(terminal, 100_000)
    os.close(terminal)
    assert ended.code == 0
    assert [document["path"] for document in documents] == [NAME, "small.png"]


@pytest.mark.parametrize("arguments", [["check", "--json", "small.png"], ["check", "small.png"], ["--help"]])
def test_an_output_that_cannot_be_written_is_an_error_in_one_line(
    images: Path, random_weights: Path, arguments: list[str]
) -> None:
    shell = 'exec "$@" > /dev/full'
    result = run("sh", "-c", shell, "sh", *SUSY, *arguments, folder=images, SUSY_WEIGHTS=str(random_weights))
    assert result.code == 1
    assert result.stderr == (
        "susy: input or output failed: No space left on device; check where standard output leads\n"
    )


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_command_works_with_closed_streams(images: Path, random_weights: Path, redirection: str) -> None:
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *SUSY, "check", "--json"]
    variables = {"SUSY_WEIGHTS": str(random_weights)}
    assert run(*command, "small.png", folder=images, **variables).code == 0
    assert run(*command, "absent.png", folder=images, **variables).code == 1


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
def test_an_empty_argument_is_not_the_working_folder(images: Path, arguments: list[str]) -> None:
    result = run(*SUSY, *arguments, folder=images)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr == "susy: an argument is empty; is a variable of your shell not set?\n"
