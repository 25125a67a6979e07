"""The README's examples, executed in the order in which they are written."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from tests.support.checkout import README
from tests.support.commands import BIN, Result, Spawned, environment, run
from tests.support.documentation import fenced, indented
from tests.support.http_service import Client
from tests.support.receiver import receiver
from tests.support.waiting import eventually
from worker.demo import SAMPLES
from worker.policy.policy import load_policy

USER = {"PATH": f"{BIN}:{os.environ['PATH']}", "SUSY_WEIGHTS": "demo"}
"""A user's environment: `susy` is on the path."""
Shell = Callable[[str], Result]
"""Runs a block of commands in the user's folder."""
CHECK, SUBMIT, EVALUATE = fenced(README, "sh")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with a photograph."""
    photo = min(SAMPLES.glob("authentic*.jpg"), key=lambda path: path.stat().st_size)
    with Image.open(photo) as opened:  # a part of it has few tiles, and more than the five that decide
        opened.crop((200, 100, 680, 580)).save(tmp_path / "photo.jpg", quality=92)
    return tmp_path


@pytest.fixture
def services(folder: Path) -> Iterator[Path]:
    """The file of addresses that `susy up`, in the other terminal, writes."""
    services = folder / ".susy/services.toml"
    up = Spawned("susy", "up", folder=folder, log=folder / "up.log", environment=environment(**USER))
    up.eventually(services.exists)
    yield services
    up.send_signal(signal.SIGINT)
    assert up.wait() == 0, up.output()
    assert not services.exists()


@pytest.fixture
def shell(folder: Path, susy_on_path: Path) -> Shell:
    def shell(block: str) -> Result:
        variables = USER | {"PATH": f"{susy_on_path}:{USER['PATH']}"}
        result = run("bash", "-euo", "pipefail", "-c", block, folder=folder, **variables)
        assert result.code == 0, result.stderr + result.stdout
        return result

    return shell


def test_an_image_is_checked_submitted_and_read_by_a_dashboard(folder: Path, services: Path, shell: Shell) -> None:
    with receiver() as platform:
        # As docs/callbacks.md shows it.
        added = shell(f"susy endpoint add {platform.url} --name platform --source avatars --allow-private")
        platform.secret = added.stdout.strip()
        shell(CHECK)
        shell(SUBMIT)
        eventually(lambda: platform.received, 60)
        assert platform.received[0].is_verified
        assert platform.received[0].data["external_id"] == "upload-1"
    (hook,) = fenced(README, "python")
    result = run(sys.executable, "-c", hook, folder=folder, **USER)
    assert result.code == 0, result.stderr
    check_id = result.stdout.strip()

    http, key = eventually(lambda: _introduced(folder / "up.log"), 60)
    submission = {"source": "http", "uri": str(folder / "photo.jpg")}
    assert Client(http).post("/v1/checks", submission).status == 401
    accepted = Client(http, key).post("/v1/checks", submission)
    assert accepted.status == 202, accepted
    shown = Client(http, key).get(f"/v1/checks/{accepted.document['check_id']}?wait=30")
    assert shown.document["decision"], shown
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/jpeg"}
    upload = urllib.request.Request(
        f"{http}/v1/gate?source=http&within=30", (folder / "photo.jpg").read_bytes(), headers
    )
    with urllib.request.urlopen(upload) as answer:
        assert json.load(answer)["reason"] == "decided"
    assert list((folder / ".susy/uploads").glob("*/*"))

    url = re.search(r'database_url = "(.*)"', services.read_text())
    assert url is not None
    with psycopg.connect(url[1], autocommit=True) as dashboard:
        waiting = "SELECT count(*) FROM dashboard.checks WHERE state <> 'done'"
        eventually(lambda: dashboard.execute(waiting).fetchone() == (0,))
        (query,) = fenced(README, "sql")
        rows = dashboard.execute(query).fetchall()  # type: ignore[call-overload]
    assert {row[0] for row in rows} == {"upload-1", "upload-2"}
    shell(f"susy show {check_id} --overlay map.png")
    assert (folder / "map.png").stat().st_size > 1000


def test_a_labelled_folder_is_evaluated(folder: Path, shell: Shell) -> None:
    for sample, label in (("authentic-lake.jpg", "authentic"), ("rebuilt-sunset.jpg", "realcugan-se")):
        target = folder / "labelled" / label / "test"
        target.mkdir(parents=True)
        with Image.open(SAMPLES / sample) as opened:
            opened.crop((300, 300, 560, 560)).save(target / "crop.png")
    shell(EVALUATE)
    for page in ("evaluation/report.html", "stability/report.html"):
        assert (folder / page).stat().st_size > 10_000


def test_the_example_policy_is_valid(tmp_path: Path) -> None:
    (block,) = fenced(README, "toml")
    path = tmp_path / "policy.toml"
    path.write_text(block)
    assert load_policy(path).synthetic_at == 0.95


def test_no_block_is_left_out() -> None:
    """`make` and `pip` run in CI, `susy weights pull` in tests/detector against a local hub."""
    text = re.sub(r"^```(\w+)\n.*?^```$", r"\1", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^(sh|python|sql|toml)$", text, re.MULTILINE) == ["sh", "sh", "python", "sql", "sh", "toml"]
    assert [block.splitlines()[0] for block in indented(README)] == ["make demo", "pip install 'susy-worker[hub]'"]


def _introduced(log: Path) -> tuple[str, str] | None:
    """The URL of the HTTP service and the key that `susy up` prints, once it has."""
    printed = log.read_text()
    url, key = re.search(r"HTTP: (http://\S+)", printed), re.search(r"susy_[\w-]{43}", printed)
    return (url[1], key[0]) if url and key else None
