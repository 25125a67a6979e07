"""Settings: read once, checked, documented, and under their old names for one more version."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from tools.settings_table import PAGES, with_tables
from worker.errors import ConfigurationError, ErrorCode
from worker.settings import SERVICES_FILE, Settings, facts, load_settings, sources, unknown_variables, variable

SECRET = "hunter2"
OLD_NAMES = {
    facts(field)["old_name"]: name for name, field in Settings.model_fields.items() if facts(field)["old_name"]
}
EXAMPLES = {
    "batch_size": "8", "image_roots": "/images:/more", "policy_file": "/p.toml", "policy_dir": "/policies",
    "lease_duration": "91s", "heartbeat_interval": "14s", "shutdown_grace": "31s", "reconcile_interval": "6s",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SUSY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    sources._warn_of_old_name.cache_clear()


def refusal(**overrides: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**overrides)
    assert caught.value.code is ErrorCode.SETTINGS
    return caught.value.message


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_settings_are_those_of_the_fields(page: Path) -> None:
    assert page.read_text() == with_tables(page.read_text()), "run `python -m tools.settings_table`"


def test_every_setting_is_described_with_its_unit_and_stands_in_the_documentation() -> None:
    readme, page = (page.read_text() for page in PAGES)
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert facts(field)["unit"], name
        assert f"`{variable(name)}`" in page, name
        assert not facts(field)["is_essential"] or f"`{variable(name)}`" in readme, name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), (" 90 s ", 90), ("1500ms", 1.5), ("5m", 300), ("1h30m", 5400), ("0.5h", 1800)],
)  # fmt: skip
def test_a_duration_takes_units_and_a_plain_number_is_seconds(
    text: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUSY_VISIBILITY_TIMEOUT", text)
    assert load_settings(hard_deadline=0.1).visibility_timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["90x", "-5s", "s", "5 minutes", "1e3", "nan", "inf", "1m-5s", "90s;", "٣s", "31d", "0s"]
)
def test_a_duration_out_of_form_is_refused_by_its_name(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUSY_RECONCILE_INTERVAL", text)
    assert refusal().startswith("SUSY_RECONCILE_INTERVAL: ")


@pytest.mark.parametrize(
    ("text", "size"),
    [("50", 50), ("50B", 50), ("50MB", 5 * 10**7), ("50mb", 5 * 10**7), ("1.5 kB", 1500), ("48MiB", 48 * 2**20)],
)  # fmt: skip
def test_a_size_takes_units_and_a_plain_number_is_bytes(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUSY_MAX_BYTES", text)
    assert load_settings().max_bytes == size


@pytest.mark.parametrize("text", ["50M", "1MB2", "-1", "MB", "0", "50 megabytes", "nan"])
def test_a_size_out_of_form_is_refused_by_its_name(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUSY_MAX_BYTES", text)
    assert refusal().startswith("SUSY_MAX_BYTES: ")


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_name_is_accepted_with_one_warning(
    old: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = OLD_NAMES[old]
    monkeypatch.setenv(variable(old), EXAMPLES[new])
    with caplog.at_level(logging.WARNING):
        by_old_name, _ = load_settings(), load_settings()
    (record,) = caplog.records
    assert variable(old) in record.getMessage()
    assert variable(new) in record.getMessage()
    monkeypatch.delenv(variable(old))
    monkeypatch.setenv(variable(new), EXAMPLES[new])
    assert getattr(by_old_name, new) == getattr(load_settings(), new) != Settings.model_fields[new].default
    assert len(caplog.records) == 1


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_and_a_new_name_must_not_contradict_each_other(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new = OLD_NAMES[old]
    monkeypatch.setenv(variable(new), EXAMPLES[new])
    monkeypatch.setenv(variable(old), EXAMPLES[new])
    assert getattr(load_settings(), new) != Settings.model_fields[new].default
    monkeypatch.setenv(variable(old), EXAMPLES[new] + "0")
    assert variable(old) in refusal()
    assert variable(new) in refusal()
    monkeypatch.setenv(variable(old), "")  # an empty variable is not set
    assert getattr(load_settings(), new) != Settings.model_fields[new].default


@pytest.mark.parametrize(
    "prefix", ["süsy:", "susy prod:", "susy\n", "susy*:", "susy?", "s[u]sy:", "{susy}:", "su\\sy", "s" * 101]
)
def test_a_key_prefix_that_celery_would_not_cut_off_is_refused(prefix: str) -> None:
    assert refusal(key_prefix=prefix).startswith("SUSY_KEY_PREFIX: ")


@pytest.mark.parametrize("prefix", ["", "susy:", "a-b_c.d/e:", "prod@1#"])
def test_other_key_prefixes_are_accepted(prefix: str) -> None:
    assert load_settings(key_prefix=prefix).key_prefix == prefix


def test_the_environment_overrides_what_susy_up_left(monkeypatch: pytest.MonkeyPatch) -> None:
    SERVICES_FILE.parent.mkdir()
    SERVICES_FILE.write_text('database_url = "postgresql://a/b"\nimage_roots = ["/images"]\n')
    assert load_settings().image_roots == (Path("/images"),)
    monkeypatch.setenv("SUSY_IMAGE_ROOTS", "/others")
    settings = load_settings()
    assert settings.image_roots == (Path("/others"),)
    assert settings.database_url == "postgresql://a/b"


@pytest.mark.parametrize("content", [b"database_url = ", b"\xff"])
def test_a_broken_file_of_susy_up_is_one_line(content: bytes) -> None:
    SERVICES_FILE.parent.mkdir()
    SERVICES_FILE.write_bytes(content)
    assert str(SERVICES_FILE) in refusal()


def test_a_misspelt_name_is_refused_in_python_and_named_from_the_environment() -> None:
    assert "SUSY_IMAGE_ROTS" in refusal(image_rots=("/images",))
    environment = {"SUSY_IMAGE_ROTS": "", "SUSY_ROOTS": "", "susy_log_level": "", "PATH": ""}
    assert unknown_variables(environment) == ["SUSY_IMAGE_ROTS"]


@pytest.mark.parametrize("roots", ["/", "/images:/", "~nobody-of-this-name/images", "loop"])
def test_roots_that_allow_everything_or_lead_nowhere_are_refused(
    roots: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("SUSY_IMAGE_ROOTS", roots)
    assert refusal().startswith("SUSY_IMAGE_ROOTS: ")


@pytest.mark.parametrize(
    "root", ["/proc", "/proc/self", "/proc/self/cwd/..", "/sys/class", "/dev", "/dev/fd/..", "/run", "/run/secrets/db"]
)
def test_roots_with_files_of_the_kernel_devices_or_secrets_are_refused(
    root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir("/dev" if "cwd" in root else tmp_path)
    (tmp_path / "link").symlink_to(root)
    for named in (root, str(tmp_path / "link")):
        monkeypatch.setenv("SUSY_IMAGE_ROOTS", named)
        if Path(named).resolve() == Path("/"):
            continue  # refused for another reason
        assert "which holds" in refusal()


def test_a_folder_in_shared_memory_is_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUSY_IMAGE_ROOTS", "/dev/shm/images")
    load_settings()


def test_timings_that_lose_leases_or_repeat_checks_are_refused() -> None:
    assert "SUSY_HEARTBEAT_INTERVAL" in refusal(heartbeat_interval=46.0)
    assert "SUSY_VISIBILITY_TIMEOUT" in refusal(hard_deadline=300.0)


def test_no_message_repeats_a_password() -> None:
    for url in (f"postgresql://susy:{SECRET}@[::1/susy", f"postgresql://susy:{SECRET}@host/susy?nonsense=1"):
        message = refusal(database_url=url)
        assert message.startswith("SUSY_DATABASE_URL: ")
        assert SECRET not in message


def test_another_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(
        image_roots=("/images", "/more"), lease_duration=12.5, heartbeat_interval=0.1, weights="demo",
        policy_dir="/policies", log_format="json", redis_url="redis://h/3",
    )  # fmt: skip
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
