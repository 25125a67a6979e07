"""File names are data: every name is judged, printed and stored, and none of them is obeyed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from rich.text import Text

from tests.support.commands import Susy
from worker.cli.output import PlainConsole
from worker.errors import ErrorCode, PermanentError

NOT_UTF8 = os.fsdecode(b"caf\xe9.png")
MARKUP = "[red]bold :smile: \x1b[31m\u202e.png"
NEWLINE = "a\nsusy: all is well.png"


@pytest.fixture
def odd(images: Path) -> Path:
    folder = images / "odd"
    folder.mkdir()
    for name in (NOT_UTF8, MARKUP, NEWLINE, "plain.png"):
        shutil.copy(images / "a.png", folder / name)
    (folder / "loop").symlink_to("loop")
    (folder / "nowhere").symlink_to("absent")
    os.mkfifo(folder / "fifo")
    return folder


def test_every_file_of_a_call_is_judged_whatever_its_neighbours_are(
    susy: Susy, odd: Path, random_weights: Path
) -> None:
    too_long, cut = "x" * 5000, "y" * 300
    result = susy("check", "--json", too_long, odd, cut, f"{cut}/a.png", folder=odd, SUSY_WEIGHTS=str(random_weights))
    assert result.code == 1
    assert "Traceback" not in result.stderr
    documents = result.documents
    codes = {document["path"].rpartition("/")[2]: document.get("error", {}).get("code") for document in documents}
    assert codes == {
        too_long: "not_found",
        cut: "not_found",
        "a.png": "not_found",
        "caf%E9.png": None,
        MARKUP: None,
        NEWLINE: None,
        "plain.png": None,
        "loop": "not_found",
        "nowhere": "not_found",
        "fifo": "not_a_file",
    }


def test_json_is_valid_in_any_reader_and_moves_no_cursor(susy: Susy, odd: Path, random_weights: Path) -> None:
    result = susy("check", "--json", odd, folder=odd, SUSY_WEIGHTS=str(random_weights))
    result.stdout.encode("utf-8")
    assert all(character == "\n" or character.isprintable() for character in result.stdout)
    uri = next(json.loads(line)["path"] for line in result.stdout.splitlines() if "%E9" in line)
    assert uri == f"file://{odd}/caf%E9.png"


def test_the_table_shows_names_as_they_are_and_control_characters_escaped(
    susy: Susy, odd: Path, random_weights: Path
) -> None:
    result = susy("check", ".", folder=odd, SUSY_WEIGHTS=str(random_weights))
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert r"[red]bold :smile: \x1b[31m\u202e.png" in result.stdout
    assert r"a\nsusy: all is well.png" in result.stdout


def test_a_string_is_never_markup_on_the_console() -> None:
    console = PlainConsole(width=100)
    with console.capture() as capture:
        console.print("[red]x[/] :warning: \x9b31m")
        console.print(Text("styled", "red"))
    assert capture.get() == "[red]x[/] :warning: \\x9b31m\nstyled\n"


def test_an_error_is_one_printable_line() -> None:
    error = PermanentError(ErrorCode.NOT_FOUND, "a\nb \x1b[2J \udcff \u202e c")
    assert error.message == r"a b \x1b[2J \udcff \u202e c"


def test_submitted_names_come_back_as_they_were_judged(
    susy: Susy, odd: Path, database_url: str, redis_url: str
) -> None:
    services = {"SUSY_DATABASE_URL": database_url, "SUSY_REDIS_URL": redis_url, "SUSY_IMAGE_ROOTS": str(odd)}
    result = susy("submit", "--json", *sorted(odd.glob("*.png")), odd / "loop", folder=odd, **services)
    assert "Traceback" not in result.stderr
    documents = result.documents
    accepted = {document["path"]: document["check_id"] for document in documents if "check_id" in document}
    assert len(accepted) == 4
    assert [document["error"]["code"] for document in documents if "error" in document] == ["not_a_file"]
    uri = f"file://{odd}/caf%E9.png"
    shown = susy("show", accepted[uri], "--json", folder=odd, **services)
    assert shown.document["uri"] == uri
    table = susy("show", accepted[str(odd / MARKUP)], folder=odd, **services)
    assert "\x1b" not in table.stdout
    assert "[red]bold" in table.stdout
