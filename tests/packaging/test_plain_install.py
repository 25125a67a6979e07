"""What the plain installation can do, and the one line of what needs an extra.

`.ci/wheel` proves the same in an empty environment; here the extras' packages are hidden from the commands.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.support.checkout import CHECKOUT
from tests.support.commands import environment
from worker.cli.main import app
from worker.extras import EXTRAS

HIDDEN = [name for names in EXTRAS.values() for name in names]
RUNNER = f"""
import json, os, sys, tempfile
sys.modules.update(dict.fromkeys({HIDDEN!r}))
from worker.cli.main import run
for line in sys.stdin:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if not (child := os.fork()):
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            sys.argv = ["susy", *json.loads(line)]
            code = 0
            try:
                run()
            except SystemExit as ended:
                code = ended.code
            except BaseException:
                import traceback
                traceback.print_exc()
                code = 99
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code or 0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), err.seek(0)
        print(json.dumps([code, out.read().decode(), err.read().decode()]), flush=True)
"""

EXAMINING: dict[tuple[str, ...], str] = {
    ("check", "a.png"): "worker",
    ("worker",): "worker",
    ("serve",): "serve",
    ("up",): "worker,embedded",
    ("demo",): "worker,embedded",
    ("train", "recipe.toml"): "worker",
    ("evaluate", "."): "worker,evaluate",
    ("calibrate", ".", "--weights", "w", "--to", "x"): "worker,evaluate",
    ("stability", "a.png"): "worker,evaluate",
    ("data", "inspect", "."): "worker",
    ("weights", "pull"): "worker,hub",
    ("weights", "import", "x.pt"): "worker",
    ("weights", "info"): "worker",
    ("deliver",): "http,deliver",
    ("endpoint", "add", "https://receiver.example/", "--name", "x"): "http",
    ("endpoint", "test", "x"): "http",
    ("endpoint", "rotate", "x"): "http",
    ("consume", "sqs", "http://127.0.0.1:1/1/queue"): "aws",
    ("sweep", "s3://bucket/prefix"): "aws",
    ("policy", "backtest", "policy.toml"): "worker",
    ("policy", "apply", "policy.toml"): "worker",
    ("cases", "check", "policy.toml"): "worker",
    ("drift",): "worker",
}
"""The commands that need extras."""
PLAIN = {
    ("submit",), ("show",), ("doctor",), ("health",), ("reconciler",), ("review",), ("db", "upgrade"),
    ("backlog", "status"), ("backlog", "retry"), ("backlog", "cancel"), ("backlog", "import"),
    ("backlog", "pause"), ("backlog", "resume"), ("consume", "stream"),
    ("policy", "show"), ("policy", "check"), ("policy", "put"), ("policy", "list"), ("policy", "diff"),
    ("policy", "activate"), ("policy", "route"), ("policy", "shadow"), ("policy", "history"), ("policy", "rollback"),
    ("policy", "undo"),
    ("key", "create"), ("key", "list"), ("key", "revoke"),
    ("endpoint", "list"), ("endpoint", "disable"), ("endpoint", "enable"), ("callbacks", "status"),
    ("callbacks", "retry"), ("explain",), ("policy", "audit"), ("prune",), ("capacity",),
    ("cases", "add"), ("cases", "list"), ("cases", "export"),
    ("reviews", "bulk"), ("reviews", "undo"), ("reviews", "configure"),
    ("reviews", "agreement"), ("reviews", "accuracy"),
    ("reviews", "golden", "add"), ("reviews", "golden", "list"), ("reviews", "golden", "remove"),
}  # fmt: skip
"""The others."""


@dataclass
class Plain:
    """Runs `susy` as in the plain installation."""

    process: subprocess.Popen[str]

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        code, out, err = json.loads(self.process.stdout.readline())
        return code, out, err


@pytest.fixture
def plain(database_url: str, redis_url: str, images: Path, tmp_path: Path) -> Iterator[Plain]:
    variables = {
        "SUSY_DATABASE_URL": database_url,
        "SUSY_REDIS_URL": redis_url,
        "SUSY_IMAGE_ROOTS": str(images),
    }
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER], env=environment(**variables), cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield Plain(process)


def test_what_needs_an_extra_says_so_in_one_line(plain: Plain) -> None:
    for command, extras in EXAMINING.items():
        code, out, err = plain(*command)
        assert (code, out) == (2, ""), (command, out, err)
        (line,) = err.splitlines()
        assert line.startswith("susy: missing_extra: "), line
        assert line.endswith(f"run: pip install 'susy-worker[{extras}]'"), line
        assert plain(*command, "--help")[0] == 0


def test_the_plain_installation_submits_reads_and_changes_the_backlog(
    plain: Plain, images: Path, tmp_path: Path
) -> None:
    def done(*command: str, code: int = 0) -> tuple[str, str]:
        found, out, err = plain(*command)
        assert found == code, out + err
        assert "Traceback" not in err
        return out, err

    done("db", "upgrade")
    check_id = json.loads(done("submit", str(images / "a.png"), "--json")[0])["check_id"]
    assert json.loads(done("show", check_id, "--json")[0])["state"] == "queued"
    assert json.loads(done("backlog", "import", str(images), "--json")[0])["accepted"] == 3
    assert json.loads(done("backlog", "cancel", "--source", "import", "--yes", "--json")[0])["changed"] == 3
    assert (
        json.loads(done("backlog", "retry", "--cancelled", "--source", "import", "--yes", "--json")[0])["changed"] == 3
    )
    done("backlog", "pause", "live")
    assert "paused" in done("backlog", "status")[0]
    done("backlog", "resume", "live")
    (tmp_path / "policy.toml").write_text(
        done("policy", "show")[0] and 'name = "p"\nsynthetic_at = 0.9\nauthentic_below = 0.1\n'
    )
    done("policy", "check", "policy.toml")
    done("health", "reconciler")
    done("health", "alive", code=1)
    assert "missing_extra" in done("health", "worker", code=1)[1]
    assert "missing_extra" in done("show", check_id, "--overlay", "map.png", code=2)[1]
    done("prune", "--older-than", "90d", "--dry-run")
    done("capacity", "--uploads-per-day", "1e6", "--measured", str(CHECKOUT / "bench/results/latest.json"))
    report = done("doctor")[0]
    for part in ("weights", "device"):
        assert re.search(rf"^{part} +skipped .*susy-worker\[worker\]", report, re.MULTILINE), report


def test_every_command_is_known_to_need_extras_or_none() -> None:
    group = typer.main.get_command(app)
    commands = set(_commands(group, ()))
    needing = {words for words in commands if any(command[: len(words)] == words for command in EXAMINING)}
    assert commands == needing | PLAIN
    assert not needing & PLAIN


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not hasattr(command, "commands"):
        yield words
        return
    for name, child in command.commands.items():
        yield from _commands(child, (*words, name))


def test_the_extras_are_those_of_the_project_file() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    names = {
        "pillow": "PIL",
        "scikit-learn": "sklearn",
        "huggingface_hub": "huggingface_hub",
    }
    required = {
        extra: {names.get(name, name.replace("-", "_")) for name in map(_distribution, lines) if name != "susy-worker"}
        for extra, lines in project["optional-dependencies"].items()
    }
    for extra, packages in EXTRAS.items():
        assert set(packages) == required[extra], extra
    plain = set(map(_distribution, project["dependencies"]))
    assert not plain & {
        name for lines in project["optional-dependencies"].values() for name in map(_distribution, lines)
    }


def _distribution(requirement: str) -> str:
    found = re.match(r"[\w-]+", requirement)
    assert found
    return found[0]
