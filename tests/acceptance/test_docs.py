"""The pages under docs: their commands exist, their examples run, their links lead somewhere."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import psycopg
import pytest

from schema.messages import SubmitMessage
from tests.support.checkout import CHECKOUT, DOCS
from tests.support.commands import Susy, run
from tests.support.databases import Sql
from tests.support.documentation import PAGES, Command, commands, fenced, indented, lines
from tests.support.ledger import claimed
from worker.cli.main import command as susy_command
from worker.client import Client
from worker.demo import SAMPLES
from worker.errors import ErrorCode
from worker.settings import Settings
from worker.store import Store

PLACEHOLDERS = {"CHECK_ID": "0199a3c2-7c1e-7000-8000-000000000001", "ID": "1", "REVISION": "1"}
"""What commands take that the pages write a name for, where the name itself is refused."""


@pytest.mark.parametrize("command", commands(), ids=str)
def test_a_command_and_its_options_exist(command: Command) -> None:
    found: Any = susy_command()
    arguments = [PLACEHOLDERS.get(word, word) for word in command.arguments]
    while hasattr(found, "commands") and arguments and not arguments[0].startswith("-"):
        assert arguments[0] in found.commands, command
        found = found.commands[arguments.pop(0)]
    if command.whole:
        found.make_context("susy", arguments)
    else:
        options = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= options | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert "://" in target or (page.parent / target).exists(), target
    for path in re.findall(r"`((?:tests|worker|schema|bench|tools|migrations)/[\w./]+)`", text):
        assert (CHECKOUT / path).exists(), path
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for listed in re.findall(r"susy-worker\[([\w,]+)\]", text):
        assert set(listed.split(",")) <= extras.keys(), listed
    targets = re.findall(r"^([\w-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    for line in lines(page):
        if line.startswith("make "):
            assert line.split()[1] in targets, line


def test_the_page_of_settings_names_every_setting_and_no_other() -> None:
    named = set(re.findall(r"^- \*\*`SUSY_(\w+)`", (DOCS / "settings.md").read_text(), re.MULTILINE))
    assert named == {name.upper() for name in Settings.model_fields}


def test_the_example_of_an_upload_hook_runs(settings: Settings, images: Path) -> None:
    (block,) = fenced(DOCS / "messages.md", "python")
    variables = {"SUSY_DATABASE_URL": settings.require_database_url(), "SUSY_REDIS_URL": settings.require_redis_url()}
    result = run(sys.executable, "-c", block, folder=images, **variables)
    assert result.code == 0, result.stderr
    assert result.stdout.split()[1] == "True"
    with Client(settings) as client:
        again = client.submit(source="avatars", external_id="upload-1", uri="/images/1.jpg")
    assert (str(again.check_id), again.created) == (result.stdout.split()[0], False)


def test_the_example_fields_are_a_submission() -> None:
    _, fields = fenced(DOCS / "messages.md", "json")
    assert SubmitMessage.model_validate(json.loads(fields)).external_id == "message-17/image-2"


def test_the_examples_of_operations_run(
    susy: Susy, store: Store, run: Sql, settings: Settings, images: Path, tmp_path: Path
) -> None:
    """Every line of the page that calls `susy backlog`, on a ledger with a check of each kind."""
    folder = tmp_path / "operator"
    folder.mkdir()
    archive = images / "archive"
    shutil.copytree(images, archive)
    rows = f"uri\n{images / 'a.png'}\n"
    (folder / "manifest.csv").write_text(rows)
    (folder / "manifest.jsonl").write_text(json.dumps({"uri": str(images / "b.png"), "source": "archive"}) + "\n")
    (folder / "manifest.csv.gz").write_bytes(gzip.compress(rows.encode()))
    store.fail(claimed(store), code=ErrorCode.NOT_FOUND, message="absent", retry_in=None)
    variables = {
        "SUSY_DATABASE_URL": settings.require_database_url(),
        "SUSY_REDIS_URL": settings.require_redis_url(),
        "SUSY_IMAGE_ROOTS": str(images),
    }
    examples = [line for line in lines(DOCS / "operations.md") if "susy backlog" in line and "--watch" not in line]
    assert len(examples) == 13
    for line in examples:
        feed, _, called = line.rpartition("| ")
        stdin = gzip.decompress((folder / feed.split()[1]).read_bytes()) if feed else b""
        arguments = [word.replace("/images/2024", str(archive)) for word in shlex.split(called)[1:]]
        if arguments[1] in ("retry", "cancel"):
            arguments.append("--yes")
        result = susy(*arguments, folder=folder, stdin=stdin, **variables)
        unknown_id = "0199a3c2" in line
        assert result.code == int(unknown_id), line + result.stderr + result.stdout
    assert run("SELECT source, count(*) FROM susy.checks GROUP BY source ORDER BY source") == [
        ("archive", 2), ("avatars", 1), ("import", 4),
    ]  # fmt: skip


def test_the_example_of_cutting_patches_runs(tmp_path: Path) -> None:
    for split, label in itertools.product(("train",), ("authentic", "sdxl")):
        target = tmp_path / "photos" / label / split
        target.mkdir(parents=True)
        shutil.copy(next(SAMPLES.glob("authentic-*.jpg" if label == "authentic" else "rebuilt-*.jpg")), target)
    (block,) = (block for block in indented(DOCS / "datasets.md") if "cut_patches" in block)
    script = tmp_path / "cut.py"
    script.write_text(block.replace("patches.pixels.shape", "print(patches.pixels.shape)"))
    result = run(sys.executable, script, folder=tmp_path)
    assert result.code == 0, result.stderr
    assert result.stdout.strip() == "(10, 240, 240, 3)"


def test_the_example_recipe_is_the_cards() -> None:
    (block, *_) = fenced(DOCS / "training.md", "toml")
    assert tomllib.loads(block) == tomllib.loads((CHECKOUT / "worker/lab/training/recipes/card.toml").read_text())


def test_the_example_queries_run(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        for page in PAGES:
            for query in fenced(page, "sql"):
                statement = re.sub(r":'?\w+'?(?!:)|%\(\w+\)s", "NULL", query)
                connection.execute(f"EXPLAIN {statement}")  # type: ignore[call-overload]
                connection.rollback()
