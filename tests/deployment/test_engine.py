"""The deployment on a real Docker engine, from the build of its image to its removal: `make compose-test`.

The tests are the steps of one story and run in this order; `-x` ends it at the first that fails. Commands that
docs/deployment.md documents are taken from that page.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from tests.deployment.engine import Project, documented, python_of_the_engine
from tests.support.released import save_released
from tests.support.waiting import eventually
from worker.demo import SAMPLES

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

COPY_ENV, *FILL_IN, BUILD, _PULL, UP, DOCTOR, SUBMIT, SHOW = documented("Start")
_PS, READY, ALIVE, RECONCILER_READY = documented("Health")
CREATE_KEY, HTTP_READY = documented("HTTP")
(SCALE_TO_3,) = documented("Scaling")
(DOWN,) = documented("Stopping")
(IMPORT_WEIGHTS,) = documented("Weights from a file")

RUNNING = {"postgres", "redis", "worker", "reconciler", "serve", "deliver"}
SETTINGS = {
    "SUSY_WEIGHTS": "demo",
    "SUSY_POLICY_FILE": "/policies/thorough.toml",
    "SUSY_CONCURRENCY": "1",
    "SUSY_THREADS": "1",
    "SUSY_LEASE_DURATION": "6s",
    "SUSY_HEARTBEAT_INTERVAL": "1s",
    "SUSY_RECONCILE_INTERVAL": "1s",
}
"""Short times, so that the test need not wait long for what a dead worker held."""
THOROUGH = 'name = "thorough"\nsynthetic_at = 0.95\nauthentic_below = 0.2\nlocalize = "always"\n'
"""Scores every tile, so that an image takes a while."""

# Inside a container: its user, effective capabilities, whether it can gain privileges, and what it can write.
CONFINEMENT = """
grep -E '^(Uid|CapEff|NoNewPrivs)' /proc/1/status
for folder in / /etc /images /policies /var/lib/susy; do
  if [ -d $folder ] && touch $folder/probe 2>/dev/null; then echo "can write $folder"; fi
done
touch /tmp/probe
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Project]:
    found = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.fail(f"`docker info` finds no Docker engine; start one or set DOCKER_HOST: {found.stderr.strip()}")
    # CI ends a job that takes too long by SIGTERM; the containers are removed then, too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = tmp_path_factory.mktemp("deployment")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # containers run as another user, who must be able to read the images
    project = Project(folder)
    failed_before = request.session.testsfailed
    try:
        yield project
    finally:
        if request.session.testsfailed > failed_before:
            project.explain()
        project.remove()
        signal.signal(signal.SIGTERM, before)


class Photographs:
    """Makes images for the containers, no two alike, and counts them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)
        self.made = 0

    def make(self, number: int, width: int, height: int, suffix: str = ".jpg") -> list[str]:
        """The paths of new images, as the containers see them."""
        return [self._make(next(self._numbers), width, height, suffix) for _ in range(number)]

    def _make(self, seed: int, width: int, height: int, suffix: str) -> str:
        noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        name = f"noise-{seed}{suffix}"
        Image.fromarray(noise).save(self._folder / name)
        self.made += 1
        return f"/images/{name}"


@pytest.fixture(scope="module")
def photographs(project: Project) -> Photographs:
    return Photographs(project.folder / "images")


def test_the_image_is_built(project: Project) -> None:
    project.run(COPY_ENV)
    project.run("\n".join(FILL_IN))
    images, policies = project.folder / "images", project.folder / "policies"
    images.joinpath("2024").mkdir(parents=True)
    images.joinpath("2024/a.jpg").write_bytes((SAMPLES / "authentic-lake.jpg").read_bytes())
    policies.mkdir()
    policies.joinpath("thorough.toml").write_text(THOROUGH)
    project.write_env({
        "SUSY_IMAGES": "./images",
        "WORKER_IMAGE": project.image,
        "PYTHON_VERSION": python_of_the_engine(),
        "TORCH_INDEX": os.environ.get("TORCH_INDEX", ""),
        **SETTINGS,
    })  # fmt: skip
    project.run(BUILD, seconds=850)


def test_everything_starts_and_is_healthy(project: Project) -> None:
    project.run(UP)
    assert project.healthy() == RUNNING
    (migrate,) = project.containers()["migrate"]
    assert (migrate["State"], migrate["ExitCode"]) == ("exited", 0)
    print(project.run("docker compose ps --all"))


def test_each_service_logs_in_under_a_name_of_its_own(project: Project) -> None:
    logins = {
        name for (name,) in project.query("SELECT DISTINCT usename FROM pg_stat_activity WHERE usename <> 'susy'")
    }
    assert logins <= {"worker", "reconciler", "serve", "deliver"}
    assert logins
    print(project.run("docker compose exec -T worker susy key list", fails=True))
    print(project.run("docker compose run --rm -T operator key list"))


def test_the_doctor_finds_nothing_and_an_image_gets_its_verdict(project: Project) -> None:
    print(project.run(DOCTOR))
    check_id = json.loads(project.run(SUBMIT))["check_id"]
    project.wait_until_done(1)
    document = json.loads(project.run(SHOW.replace("CHECK_ID", check_id)))
    assert document["decision"] == "authentic"
    assert document["policy"]["name"] == "thorough"
    assert "demo_weights" in document["reasons"]


def test_the_image_reads_what_phones_send(project: Project, photographs: Photographs) -> None:
    register_heif_opener()
    project.submit(*photographs.make(1, 640, 480, ".heic"))
    project.wait_until_done(1 + photographs.made)


@pytest.mark.parametrize("service", sorted(RUNNING))
def test_a_container_is_confined_and_limited(project: Project, service: str) -> None:
    found = project.run(f"docker compose exec -T {service} sh -c {shlex.quote(CONFINEMENT)}").split()
    assert found[found.index("CapEff:") + 1] == "0" * 16
    assert found[found.index("NoNewPrivs:") + 1] == "1"
    assert "0" not in found[found.index("Uid:") + 1 : found.index("Uid:") + 5]
    assert "write" not in found
    (container,) = project.containers()[service]
    published = {port["URL"] for port in container["Publishers"] or () if port["PublishedPort"]}
    assert published == ({"127.0.0.1"} if service == "serve" else set())
    facts = project.inspect(container["ID"])["HostConfig"]
    assert facts["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "5", "max-size": "10m"}}
    assert facts["RestartPolicy"]["Name"] == "unless-stopped"


def test_the_worker_reaches_its_servers_and_nothing_else(project: Project) -> None:
    connect = "import socket; socket.create_connection(('{}', {}), timeout=3)"
    project.run(f'docker compose exec -T worker python -c "{connect.format("postgres", 5432)}"')
    project.run(f'docker compose exec -T worker python -c "{connect.format("1.1.1.1", 443)}"', fails=True)


def test_the_http_service_accepts_a_submission_with_a_key_and_none_without(
    project: Project, photographs: Photographs
) -> None:
    project.run(HTTP_READY)
    key = project.run(CREATE_KEY).strip()
    (image,) = photographs.make(1, 640, 480)
    post = (
        "curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8484/v1/checks"
        " --header 'Content-Type: application/json' --data " + shlex.quote(json.dumps({"source": "http", "uri": image}))
    )
    assert project.run(post) == "401"
    assert project.run(f"{post} --header 'Authorization: Bearer {key}'") == "202"
    project.wait_until_done(1 + photographs.made)


def test_health_tells_a_worker_that_waits_from_one_that_is_stuck(project: Project) -> None:
    for command in (READY, ALIVE, RECONCILER_READY):
        project.run(command)
    project.run("docker compose pause redis")
    project.run(READY, fails=True)
    project.run(RECONCILER_READY, fails=True)
    project.run(ALIVE)
    project.run("docker compose unpause redis")
    eventually(lambda: project.healthy() == RUNNING, 60, lambda: f"healthy are {project.healthy()}")


def test_another_worker_finishes_the_check_of_a_killed_one(project: Project, photographs: Photographs) -> None:
    project.run(f"{UP} --scale worker=2")
    project.submit(*photographs.make(4, 2400, 1600))

    def held() -> list[list[str]]:
        return project.query("SELECT split_part(worker, ':', 1), id FROM susy.checks WHERE state = 'running'")

    eventually(lambda: bool(held()), 60, lambda: f"nothing runs: {project.states()}")
    killed = held()[0][0]
    project.run(f"docker kill {killed}")
    lost = [check_id for worker, check_id in held() if worker == killed]
    assert lost, "the worker was killed between two checks"
    project.wait_until_done(1 + photographs.made)
    for attempts, worker in project.query(f"SELECT attempts, worker FROM susy.checks WHERE id = '{lost[0]}'"):
        print(f"    check {lost[0]}: begun by {killed}, done at attempt {attempts} by {worker}")
        assert attempts == "2"
        assert not worker.startswith(killed)
    project.run(UP)


def test_a_worker_that_exits_is_restarted(project: Project) -> None:
    (worker,) = project.containers()["worker"]
    project.run("docker compose exec -T worker python -c 'import os, signal; os.kill(1, signal.SIGQUIT)'")
    eventually(lambda: project.inspect(worker["ID"])["RestartCount"] == 1, 30, lambda: "it was not restarted")
    eventually(lambda: project.succeeds(READY), 60, lambda: "the worker is not ready again")


def test_a_worker_that_is_still_starting_stops_by_itself(project: Project) -> None:
    (worker,) = project.containers()["worker"]

    def handles_sigterm() -> bool:
        status = project.run("docker compose exec -T worker cat /proc/1/status").splitlines()
        caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt:"))
        return bool(caught & 1 << signal.SIGTERM - 1)

    project.run("docker compose restart --no-deps worker")
    eventually(handles_sigterm, 60, lambda: "the worker does not handle SIGTERM")
    project.run("docker compose stop worker")
    assert project.inspect(worker["ID"])["State"]["ExitCode"] != 128 + signal.SIGKILL, "only SIGKILL ended it"
    project.run(UP)


@pytest.mark.parametrize("server", ["postgres", "redis"])
def test_checks_outlive_a_restart_of_a_server(project: Project, photographs: Photographs, server: str) -> None:
    project.submit(*photographs.make(8, 900, 700))
    project.run(f"docker compose restart {server}")
    project.wait_until_done(1 + photographs.made)


def test_three_workers_share_the_work(project: Project, photographs: Photographs) -> None:
    project.run(SCALE_TO_3)
    before = len(project.query("SELECT DISTINCT worker FROM susy.checks"))
    project.submit(*photographs.make(12, 900, 700))
    project.wait_until_done(1 + photographs.made)
    assert len(project.query("SELECT DISTINCT worker FROM susy.checks")) - before >= 2


def test_an_upgrade_keeps_the_queue(project: Project, photographs: Photographs) -> None:
    project.submit(*photographs.make(12, 900, 700))
    project.change_image()
    project.run_documented("Upgrading")
    images = {container["Image"] for name in ("worker", "reconciler") for container in project.containers()[name]}
    assert images == {project.image}
    project.wait_until_done(1 + photographs.made)
    assert project.query("SELECT count(*) FROM susy.checks WHERE attempts > 2") == [["0"]]


def test_down_and_up_again_loses_nothing(project: Project, photographs: Photographs) -> None:
    project.submit(*photographs.make(8, 900, 700))
    project.run(DOWN)
    project.run(UP)
    project.wait_until_done(1 + photographs.made)


def test_a_backup_restores_everything_on_a_new_host(project: Project, photographs: Photographs) -> None:
    contents = "SELECT md5(string_agg(x::text, '' ORDER BY x.id)) FROM susy.{} x"
    before = [project.query(contents.format(table)) for table in ("checks", "scans", "verdicts")]
    may_read = "SELECT has_table_privilege('susy_dashboard', 'dashboard.checks', 'SELECT')"
    assert project.query(may_read) == [["t"]]
    project.run_documented("Backup")
    project.run("docker compose down --volumes")
    project.run_documented("Restore")
    assert [project.query(contents.format(table)) for table in ("checks", "scans", "verdicts")] == before
    assert project.query(may_read) == [["t"]]
    project.submit(*photographs.make(1, 900, 700))
    project.wait_until_done(1 + photographs.made)


def test_a_backup_replaces_what_came_after_it(project: Project, photographs: Photographs) -> None:
    project.run_documented("Backup")
    project.submit(*photographs.make(1, 900, 700))
    photographs.made -= 1
    project.query("CREATE TABLE susy.of_a_later_version ()")
    project.run_documented("Restore")
    project.wait_until_done(1 + photographs.made)
    assert project.query("SELECT to_regclass('susy.of_a_later_version') IS NULL") == [["t"]]


def test_weights_from_a_file_reach_the_workers(project: Project) -> None:
    save_released(project.folder / "SuSy.pt")
    project.run(IMPORT_WEIGHTS)
    project.write_env({"SUSY_WEIGHTS": ""})
    project.run(UP)
    assert "(demonstration)" not in project.run(DOCTOR)


def test_everything_is_removed(project: Project) -> None:
    project.remove()
    assert project.leftovers() == ""
