"""Sweeps of a real bucket: what nobody reported is submitted, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hooks.payloads import message
from tests.support.commands import Susy
from tests.support.databases import Sql
from tests.support.seaweedfs import SeaweedFS
from tests.support.waiting import eventually
from worker.errors import ConfigurationError, ErrorCode
from worker.hooks.accept import accept
from worker.hooks.events import Ignored, Upload
from worker.hooks.mapping import HooksFile, load_hooks
from worker.hooks.objects import UploadLocation
from worker.hooks.senders import seaweedfs as sender
from worker.hooks.sweep import Page, S3Bucket, Summary, sweep
from worker.store import Store


@pytest.fixture
def hooks_path(tmp_path: Path, bucket: str) -> Path:
    path = tmp_path / "hooks.toml"
    path.write_text(f'[[mapping]]\nlocation = "s3://{bucket}/in/"\nsource = "uploads"\nsuffixes = [".png"]\n')
    return path


@pytest.fixture
def hooks(hooks_path: Path) -> HooksFile:
    return load_hooks(hooks_path)


@pytest.fixture
def put(seaweedfs: SeaweedFS, bucket: str) -> Callable[..., None]:
    client = seaweedfs.client()

    def put(*keys: str, body: bytes = b"image") -> None:
        for key in keys:
            client.put_object(Bucket=bucket, Key=key, Body=body)

    return put


@pytest.fixture
def run_sweep(seaweedfs: SeaweedFS, bucket: str, hooks: HooksFile, store: Store) -> Callable[..., Summary]:
    def run(prefix: str = "", **options: Any) -> Summary:
        place = UploadLocation("s3", bucket, prefix)
        return sweep(S3Bucket(place, seaweedfs.client()).pages, place, hooks, store, **options)

    return run


def test_what_the_ledger_does_not_know_is_submitted_once(
    put: Callable[..., None], run_sweep: Callable[..., Summary], run: Sql, bucket: str
) -> None:
    put("in/a b.png", "in/ü#.png", "in/note.txt", "in/folder/", "other/c.png")
    put("in/empty.png", body=b"")
    first = run_sweep()
    assert (first.objects, first.submitted, first.known) == (6, 2, 0)
    assert first.ignored == {Ignored.SUFFIX: 1, Ignored.FOLDER: 1, Ignored.EMPTY: 1, Ignored.PREFIX: 1}
    put("in/d.png")
    second = run_sweep()
    assert (second.submitted, second.known) == (1, 2)
    uris = {uri for (uri,) in run("SELECT uri FROM susy.checks")}
    assert uris == {f"s3://{bucket}/{key}" for key in ("in/a b.png", "in/ü#.png", "in/d.png")}


def test_events_and_sweeps_give_one_check_in_either_order(
    put: Callable[..., None],
    run_sweep: Callable[..., Summary],
    notified: Callable[[], list[dict[str, Any]]],
    hooks: HooksFile,
    store: Store,
    run: Sql,
) -> None:
    put("in/before.png", "in/after.png")

    def events() -> list[Any]:
        return [event for document in notified() for event in sender.read(message(document))]

    eventually(lambda: sum(isinstance(event, Upload) for event in events()) == 2, 20)
    before = [event for event in events() if isinstance(event, Upload) and event.location.key == "in/before.png"]
    assert len(accept(before, hooks, store, None).accepted) == 1
    assert run_sweep().submitted == 1
    outcome = accept(events(), hooks, store, None)
    assert (len(outcome.accepted), len(outcome.repeated)) == (0, 2)
    assert run("SELECT count(*) FROM susy.checks") == [(2,)]


def test_of_a_bucket_with_versions_the_latest_one_is_submitted(
    seaweedfs: SeaweedFS, put: Callable[..., None], run_sweep: Callable[..., Summary], run: Sql, bucket: str
) -> None:
    status = {"Status": "Enabled"}
    seaweedfs.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration=status)
    put("in/a.png", "in/a.png", "in/deleted.png")
    seaweedfs.client().delete_object(Bucket=bucket, Key="in/deleted.png")
    assert run_sweep().submitted == 1
    assert run_sweep().submitted == 0
    put("in/a.png")
    assert run_sweep().submitted == 1
    names = [name for (name,) in run("SELECT external_id FROM susy.checks")]
    assert len(names) == 2
    assert all(name.startswith(f"s3://{bucket}/in/a.png#version=") for name in names)


def test_an_upload_that_tusd_reported_without_an_etag_is_known(
    put: Callable[..., None], run_sweep: Callable[..., Summary], hooks: HooksFile, store: Store, bucket: str
) -> None:
    put("in/tus.png")
    assert len(accept([Upload(UploadLocation("s3", bucket, "in/tus.png"))], hooks, store, None).accepted) == 1
    assert run_sweep().known == 1


def test_a_sweep_that_was_interrupted_continues_after_its_last_page(
    seaweedfs: SeaweedFS, bucket: str, put: Callable[..., None], hooks: HooksFile, store: Store, run: Sql
) -> None:
    keys = [f"in/{number:02}.png" for number in range(9)]
    put(*keys)
    place = UploadLocation("s3", bucket, "")
    started: list[str | None] = []

    def pages(after_key: str | None) -> Iterator[Page]:
        """Three objects a page."""
        started.append(after_key)
        [(objects, _)] = S3Bucket(place, seaweedfs.client()).pages(after_key)
        for start in range(0, len(objects), 3):
            page = objects[start : start + 3]
            is_last = start + 3 >= len(objects)
            yield page, None if is_last else page[-1].upload.location.key

    def killed(summary: Summary) -> None:
        if summary.objects >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(pages, place, hooks, store, progress=killed)
    assert run("SELECT count(*) FROM susy.checks") == [(6,)]
    summary = sweep(pages, place, hooks, store)
    assert started == [None, "in/05.png"]
    assert (summary.resumed_after, summary.objects, summary.submitted) == ("in/05.png", 3, 3)
    assert sweep(pages, place, hooks, store).objects == 9  # from the beginning again
    with pytest.raises(KeyboardInterrupt):
        sweep(pages, place, hooks, store, progress=killed)
    run("UPDATE susy.sweeps SET updated_at = now() - interval '25 hours'")
    assert sweep(pages, place, hooks, store).objects == 9


def test_long_listings_are_read_page_by_page(seaweedfs: SeaweedFS, bucket: str, put: Callable[..., None]) -> None:
    keys = sorted(f"in/{name}" for name in ("a", "b/c", "c/d", "c/e", "ä", "z"))
    put(*keys)
    place = UploadLocation("s3", bucket, "in/")
    pages = list(S3Bucket(place, seaweedfs.client(), page=2).pages(None))
    assert sorted(item.upload.location.key for objects, _ in pages for item in objects) == keys
    assert all(len(objects) <= 2 for objects, _ in pages)
    seaweedfs.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = list(S3Bucket(place, seaweedfs.client(), page=2).pages(None))
    assert sorted(item.upload.location.key for objects, _ in versions for item in objects) == keys
    assert len(versions) > 2


def test_only_objects_of_the_ages_are_submitted(put: Callable[..., None], run_sweep: Callable[..., Summary]) -> None:
    put("in/a.png")
    assert run_sweep(older_than=3600).outside_ages == 1
    time.sleep(1.1)
    assert run_sweep(newer_than=0.1).outside_ages == 1
    assert run_sweep(newer_than=3600).submitted == 1


def test_a_bucket_that_does_not_exist_is_named(seaweedfs: SeaweedFS, hooks: HooksFile, store: Store) -> None:
    place = UploadLocation("s3", "no-such-bucket", "")
    with pytest.raises(ConfigurationError, match="no-such-bucket") as refused:
        sweep(S3Bucket(place, seaweedfs.client()).pages, place, hooks, store)
    assert refused.value.code is ErrorCode.STORAGE_UNAVAILABLE


def test_the_command_sweeps_and_says_what_it_found(
    susy: Susy,
    seaweedfs: SeaweedFS,
    put: Callable[..., None],
    bucket: str,
    hooks_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    put("in/a.png", "in/b.txt")
    variables = {"SUSY_DATABASE_URL": database_url, "SUSY_HOOKS_FILE": str(hooks_path)}
    result = susy("sweep", f"s3://{bucket}/in/", "--older-than", "0", "--json", **variables)
    assert result.code == 0, result.stderr
    assert result.document["submitted"] == 1
    assert result.document["ignored"] == {"suffix": 1}
    again = susy("sweep", f"s3://{bucket}/in/", "--older-than", "0", **variables)
    assert "2 objects, 0 submitted, 1 known, 1 ignored" in again.stdout
    assert susy("sweep", "/srv/x/", **variables).code == 2
    assert susy("sweep", f"s3://{bucket}/", SUSY_DATABASE_URL=database_url).code == 2
