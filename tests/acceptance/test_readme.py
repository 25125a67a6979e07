"""The README's examples, executed."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from worker.demo import SAMPLES
from worker.policy.policy import load_policy
from worker.settings import Settings

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a photograph, and `susy` on the path."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("SUSY_WEIGHTS", "demo")
    monkeypatch.setenv("SUSY_DEVICE", "cpu")
    photo = min(SAMPLES.glob("authentic*.jpg"), key=lambda path: path.stat().st_size)
    shutil.copy(photo, tmp_path / "photo.jpg")
    return tmp_path


@pytest.fixture
def up(folder: Path) -> Iterator[None]:
    """`susy up`, as in the other terminal."""
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(["susy", "up"], cwd=folder, stdout=log, stderr=log)
    until = time.monotonic() + 60
    while not (folder / ".susy/services.toml").exists():
        assert process.poll() is None, (folder / "up.log").read_text()
        assert time.monotonic() < until, (folder / "up.log").read_text()
        time.sleep(0.1)
    yield
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert not (folder / ".susy/services.toml").exists()


@pytest.mark.usefixtures("up")
def test_the_examples_work_in_the_order_they_are_written(folder: Path) -> None:
    check_block, submit_block, _ = examples("sh")
    for block in (check_block, submit_block):
        result = _run("bash", "-euo", "pipefail", "-c", block, folder=folder)
        assert result.returncode == 0, result.stderr + result.stdout
    (python_block,) = examples("python")
    result = _run(sys.executable, "-c", python_block, folder=folder)
    assert result.returncode == 0, result.stderr
    check_id = result.stdout.strip()

    until = time.monotonic() + 60
    while '"state": "done"' not in (shown := _run("susy", "show", check_id, "--json", folder=folder).stdout):
        assert time.monotonic() < until, shown
    assert _run("susy", "show", check_id, "--overlay", "map.png", folder=folder).returncode == 0
    assert (folder / "map.png").stat().st_size > 1000

    (query,) = examples("sql")
    url = re.search(r'database_url = "(.*)"', (folder / ".susy/services.toml").read_text())
    assert url is not None
    with psycopg.connect(url[1]) as connection:
        rows = connection.execute(query).fetchall()  # type: ignore[arg-type]
    assert {row[0] for row in rows} == {"upload-1", "upload-2"}


def test_the_examples_of_judging_work_on_a_labelled_folder(folder: Path) -> None:
    for sample, label in (("photo.jpg", "authentic"), ("rebuilt-mountains.jpg", "realcugan-se")):
        target = folder / "labelled" / label / "test"
        target.mkdir(parents=True)
        with Image.open(folder / sample if sample == "photo.jpg" else SAMPLES / sample) as opened:
            opened.crop((300, 300, 780, 780)).save(target / "crop.png")
    judge_block = examples("sh")[2]
    result = _run("bash", "-euo", "pipefail", "-c", judge_block, folder=folder)
    assert result.returncode == 0, result.stderr + result.stdout
    for page in ("evaluation/report.html", "stability/report.html"):
        assert (folder / page).stat().st_size > 10_000


def test_the_example_policy_is_valid(tmp_path: Path) -> None:
    (block,) = examples("toml")
    path = tmp_path / "policy.toml"
    path.write_text(block)
    assert load_policy(path).synthetic_at == 0.95


def test_the_table_of_variables_names_every_setting_and_no_other() -> None:
    named = set(re.findall(r"^\| `SUSY_(\w+)`", README, re.MULTILINE))
    assert named == {name.upper() for name in Settings.model_fields}


def test_every_link_leads_to_a_file() -> None:
    for page in [CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
