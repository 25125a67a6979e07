"""A real tus server that keeps uploads in a real bucket and reports them in tusd's form: `examples/tus_node`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schema.access import Scope
from tests.support.checkout import CHECKOUT
from tests.support.databases import Sql
from tests.support.http_service import running_service
from tests.support.lazily import ImportedWhenUsed
from tests.support.node import install_packages
from tests.support.seaweedfs import SeaweedFS
from tests.support.servers import free_port
from tests.support.waiting import eventually
from worker.hooks.mapping import load_hooks
from worker.hooks.objects import UploadLocation
from worker.hooks.sweep import S3Bucket, sweep
from worker.settings import Settings
from worker.store import Store

tusclient = ImportedWhenUsed("tusclient.client")

pytestmark = pytest.mark.registry

EXAMPLE = CHECKOUT / "examples" / "tus_node"


@pytest.fixture
def hooks_path(tmp_path: Path, bucket: str) -> Path:
    path = tmp_path / "hooks.toml"
    path.write_text(
        f'[[mapping]]\nlocation = "s3://{bucket}/"\nsource = "uploads"\nmetadata = ["user"]\n'
        'exclude_suffixes = [".info", ".part"]\n'
    )
    return path


@pytest.fixture
def tus_url(
    tmp_path: Path, seaweedfs: SeaweedFS, bucket: str, settings: Settings, store: Store, hooks_path: Path
) -> Iterator[str]:
    """Where uploads begin; finished ones are reported to a running service."""
    folder = tmp_path / "tus"
    shutil.copytree(EXAMPLE, folder)
    install_packages(folder)
    log = folder / "log"
    with running_service(settings.model_copy(update={"hooks_file": hooks_path})) as service, log.open("wb") as output:
        port = free_port()
        variables = seaweedfs.environment | {
            "SUSY_URL": service.url,
            "SUSY_API_KEY": store.keys.add("tus", [Scope.SUBMIT], sources=["uploads"]),
            "BUCKET": bucket,
            "PORT": str(port),
        }
        server = subprocess.Popen(
            ["node", "server.js"], cwd=folder, env=os.environ | variables, stdout=output, stderr=output
        )
        try:
            eventually(lambda: "listening" in log.read_text(), 30, log.read_text)
            yield f"http://127.0.0.1:{port}/files"
        finally:
            server.terminate()
            server.wait(30)


def test_an_upload_by_tus_in_pieces_becomes_one_check_that_a_sweep_knows(
    tus_url: str, tmp_path: Path, seaweedfs: SeaweedFS, bucket: str, store: Store, hooks_path: Path, run: Sql
) -> None:
    content = os.urandom(6_000_000)
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with path.open("rb") as file:
        uploader = tusclient.TusClient(tus_url).uploader(
            file_stream=file, chunk_size=2_000_000, metadata={"user": "u1"}
        )
        uploader.upload()
    key = str(uploader.url).rpartition("/")[2]
    assert seaweedfs.client().get_object(Bucket=bucket, Key=key)["Body"].read() == content
    found = eventually(lambda: run("SELECT uri, external_id, attributes FROM susy.checks"), 30)
    assert found == [(f"s3://{bucket}/{key}", f"s3://{bucket}/{key}", {"user": "u1"})]
    place = UploadLocation("s3", bucket, "")
    summary = sweep(S3Bucket(place, seaweedfs.client()).pages, place, load_hooks(hooks_path), store)
    assert (summary.known, summary.submitted, summary.refused) == (1, 0, [])
    assert summary.objects > 1  # tus's own objects beside it
