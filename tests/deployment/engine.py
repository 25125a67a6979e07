"""A Compose project of its own on a real Docker engine, driven by the commands that docs/deployment.md shows."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.support.checkout import CHECKOUT
from tests.support.waiting import eventually

PAGE = CHECKOUT / "docs/deployment.md"
PYTHONS = ("3.13", "3.12", "3.11")
"""Versions that the image can be built on, the default first."""

Container = dict[str, Any]


def documented(heading: str) -> list[str]:
    """The commands under `heading` of the page: the lines of its `sh` blocks, in order."""
    sections: dict[str, list[str]] = {}
    title, in_commands = "", False
    for line in PAGE.read_text().splitlines():
        if line.startswith("```"):
            in_commands = line == "```sh"
        elif in_commands:
            sections.setdefault(title, []).append(line)
        elif line.startswith("#"):
            title = line.lstrip("# ")
    return sections[heading]


class Project:
    """A copy of what the deployment needs, in a folder of its own, and the containers that were made from it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"susy-compose-test-{secrets.token_hex(4)}"
        self.folder = folder
        self.image = f"{self.name}:first"
        sent = [line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        for name in ("docker-compose.yml", "Dockerfile", ".dockerignore", ".env.example", *sent):
            copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
            copy(CHECKOUT / name, folder / name)
        own = re.compile(
            r"SUSY_|COMPOSE_|POSTGRES_|REDIS_|WORKER|MIGRATE_|RECONCILER_|SERVE_|DELIVER_"
        )  # the caller's must not reach the project
        self.environment = {name: value for name, value in os.environ.items() if not own.match(name)}
        self.environment |= {"COMPOSE_PROJECT_NAME": self.name, "COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "quiet"}

    def write_env(self, values: dict[str, str]) -> None:
        """Fill in `.env`, made from the example: a value after the name, whether it is commented out or not."""
        text = (self.folder / ".env").read_text()
        for name, value in values.items():
            text, found = re.subn(rf"^(# )?{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            assert found == 1, f".env.example has {found} lines for {name}"
        (self.folder / ".env").write_text(text)

    def run(self, command: str, *, seconds: float = 120, fails: bool = False) -> str:
        """Run one line of shell in the project's folder and return its output; `fails` expects an exit code but 0."""
        first, *others = command.strip().splitlines()
        print(f"    $ {first}{' …' if others else ''}", end="", flush=True)
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        print(f"  ({time.monotonic() - began:.1f} s)", flush=True)
        assert (done.returncode != 0) == fails, (
            f"exit code {done.returncode} of: {command}\n{_last_lines(done.stdout)}\n{_last_lines(done.stderr)}"
        )
        return done.stdout

    def run_documented(self, heading: str, *, seconds: float = 120) -> str:
        """Run every command under `heading` of the page, as it stands there."""
        return "".join(self.run(command, seconds=seconds) for command in documented(heading))

    def containers(self) -> dict[str, list[Container]]:
        """The running and the exited containers by service, as `docker compose ps` describes them."""
        found: dict[str, list[Container]] = {}
        for line in self._quietly("docker compose ps --all --format json").splitlines():
            container = json.loads(line)
            found.setdefault(container["Service"], []).append(container)
        return found

    def healthy(self) -> set[str]:
        """The services all of whose containers are healthy."""
        return {
            service
            for service, containers in self.containers().items()
            if all(container["Health"] == "healthy" for container in containers)
        }

    def inspect(self, container: str) -> dict[str, Any]:
        """What the engine says about a container."""
        (facts,) = json.loads(self._quietly(f"docker inspect {container}"))
        return dict(facts)

    def query(self, statement: str) -> list[list[str]]:
        """The rows that a statement gives in the project's database, as text."""
        command = f"docker compose exec -T postgres psql --no-align --tuples-only --command {shlex.quote(statement)}"
        return [line.split("|") for line in self._quietly(command).splitlines()]

    def states(self) -> dict[str, int]:
        """How many checks are in each state."""
        return {state: int(count) for state, count in self.query("SELECT state, count(*) FROM susy.checks GROUP BY 1")}

    def submit(self, *paths: str, policy: str | None = None) -> list[str]:
        """Submit images by the command, and return their check ids."""
        chosen = f" --policy {policy}" if policy else ""
        answers = self.run(f"docker compose exec -T worker susy submit --json{chosen} {' '.join(paths)}")
        return [json.loads(line)["check_id"] for line in answers.splitlines()]

    def wait_until_done(self, expected: int, *, seconds: float = 180) -> None:
        """Wait until all checks are done, and see that none was lost, quarantined or decided twice."""
        eventually(lambda: self.states() == {"done": expected}, seconds, lambda: f"states are {self.states()}")
        ((verdicts,),) = self.query("SELECT count(*) FROM susy.verdicts WHERE mode = 'live'")
        assert int(verdicts) == expected
        print(f"    {expected} checks, all done", flush=True)

    def succeeds(self, command: str) -> bool:
        """Whether a command exits with 0."""
        return (
            subprocess.run(
                ["bash", "-c", command], cwd=self.folder, env=self.environment, capture_output=True, check=False
            ).returncode
            == 0
        )

    def change_image(self) -> None:
        """Make `build` give another image than the one that runs, as a new version of the program does."""
        self.image = f"{self.name}:second"
        self.write_env({"WORKER_IMAGE": self.image})
        with (self.folder / "Dockerfile").open("a") as dockerfile:
            dockerfile.write("LABEL version=second\n")

    def explain(self) -> None:
        """Print what is known of the containers."""
        for command in ("docker compose ps --all", "docker compose logs --no-color --tail 40"):
            print(f"\n--- {command}\n{self._quietly(command)}", flush=True)

    def remove(self) -> None:
        """Remove every container, volume, network and image of the project."""
        self.run("docker compose --profile '*' down --volumes --remove-orphans --timeout 10")
        self.run(
            f"docker images --quiet '{self.name}' | sort -u | xargs --no-run-if-empty docker rmi --force >/dev/null"
        )

    def leftovers(self) -> str:
        """The ids of whatever the engine still has of the project."""
        label = f"--filter label=com.docker.compose.project={self.name} --quiet"
        return "".join(self._quietly(f"docker {kind} ls {label}") for kind in ("container", "volume", "network"))

    def _quietly(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout


def python_of_the_engine() -> str:
    """The Python version to build on: the default, unless the engine holds another one only, as without a registry."""
    for version in PYTHONS:
        image = ["docker", "image", "inspect", f"python:{version}-slim"]
        if subprocess.run(image, capture_output=True, check=False).returncode == 0:
            return version
    return PYTHONS[0]


def _last_lines(text: str, count: int = 60) -> str:
    return "\n".join(text.splitlines()[-count:])
