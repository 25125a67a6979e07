"""A real upload through tus, SeaweedFS, its notification, a check, its verdict and the verified callback.

`python -m tools.demo_hooks` prints each step as it has happened, and ends with exit code 1 when one does not.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from tusclient.client import TusClient

from tools.demo_hooks.receiver import Receiver
from tools.seaweedfs import SeaweedFS, free_ports
from worker.cli.services.stack import Stack, running_stack
from worker.demo import SAMPLES
from worker.detector.paths import DEMO

IMAGE = SAMPLES / "rebuilt-flowers.jpg"
DECISION = "synthetic"
"""What the demonstration weights say of it."""
BUCKET, KEY = "uploads", "avatars/4711 flowers.jpg"
SOURCE, ENDPOINT = "avatars", "platform"
CHUNK = 16_384
"""Bytes of one request of the upload."""
TIMEOUT = 120.0
"""Seconds that each step may take."""

HOOKS_FILE = f"""
[[mapping]]
location = "s3://{BUCKET}/avatars/"
source = "{SOURCE}"
endpoint = "{ENDPOINT}"
suffixes = [".jpg", ".png"]
attributes = {{ surface = "avatar" }}
"""

Value = TypeVar("Value")


class StepError(Exception):
    """A step did not happen as it should."""


def main() -> int:
    """Run the demonstration; the exit code."""
    with tempfile.TemporaryDirectory(prefix="susy-demo-hooks-") as name:
        folder = Path(name)
        log = folder / "processes.log"
        try:
            with ExitStack() as stack:
                _run(folder, stack, log)
        except StepError as error:
            print(f"\nFAILED: {error}", file=sys.stderr)
            print(log.read_text(errors="replace")[-6000:] if log.exists() else "", file=sys.stderr)
            return 1
    print("\nEvery step happened.")
    return 0


def _run(folder: Path, stack: ExitStack, log: Path) -> None:
    seaweedfs = SeaweedFS(folder / "seaweedfs")
    os.environ.update(seaweedfs.environment)
    hooks_file = folder / "hooks.toml"
    hooks_file.write_text(HOOKS_FILE)
    [port] = free_ports(1)
    service = f"http://127.0.0.1:{port}"

    _say("Start Postgres, Valkey, a worker, a reconciler, `susy serve` and `susy deliver`")
    running = stack.enter_context(
        running_stack(
            folder / "state",
            (),
            commands=("worker", "serve", "deliver"),
            worker_log=stack.enter_context(log.open("wb")),
            weights=DEMO,
            hooks_file=hooks_file,
            buckets=(f"s3://{BUCKET}/avatars/",),
            serve_port=port,
            serve_workers=1,
            public_url=service,
        )
    )
    _eventually(lambda: _status(f"{service}/readyz") == 200, "the HTTP service is not ready")
    _tell(f"ready: {service}/readyz")
    susy = _Command(running)

    _say("Register who is called back, and a key for SeaweedFS")
    receiver = stack.enter_context(Receiver())
    receiver.secret = susy("endpoint", "add", receiver.url, "--name", ENDPOINT, "--allow-private", "--json")["key"]
    key = susy("key", "create", "seaweedfs", "--source", SOURCE, "--json")["key"]

    _say("Start SeaweedFS, which reports what changes in its buckets to `/v1/hooks/seaweedfs`")
    seaweedfs.start(notify=f"{service}/v1/hooks/seaweedfs", token=key)
    stack.callback(seaweedfs.close)
    storage = seaweedfs.client()
    storage.create_bucket(Bucket=BUCKET)
    _tell(f"S3 at {seaweedfs.endpoint}, tus at {seaweedfs.filer}/.tus")

    _say("Upload an image by tus, interrupted once")
    _upload(seaweedfs, folder)
    size = storage.head_object(Bucket=BUCKET, Key=KEY)["ContentLength"]
    _require(size == IMAGE.stat().st_size, f"the object has {size} bytes")
    _tell(f"s3://{BUCKET}/{KEY} has {size} bytes")

    _follow(service, key, receiver)

    _say("A sweep of the bucket finds nothing that the ledger does not know")
    swept = susy("sweep", f"s3://{BUCKET}/", "--older-than", "0", "--json")
    _require((swept["objects"], swept["known"], swept["submitted"]) == (1, 1, 0), f"the sweep found {swept}")

    _say("The object is deleted: an event that makes no check")
    storage.delete_object(Bucket=BUCKET, Key=KEY)
    _eventually(lambda: _counted(service, key, "ignored", "deleted"), "the deletion was not counted")
    _tell("counted as ignored: deleted")
    _require(sum(item["count"] for item in _counted(service, key, "accepted")) == 1, "there is a second check")


def _follow(service: str, key: str, receiver: Receiver) -> None:
    """From the notification to the callback, and to what the ledger says."""
    _say("The notification becomes a check")
    counts = _eventually(lambda: _counted(service, key, "accepted"), "no notification was accepted")
    _tell(f"GET /v1/hooks: {counts}")

    _say("The check ends, and the callback arrives with a right signature")
    try:
        webhook_id, callback = receiver.wait(TIMEOUT)
    except queue.Empty:
        raise StepError(f"no verified callback arrived; {receiver.refused} had a wrong signature") from None
    data = callback["data"]
    _tell(f"webhook-id {webhook_id}, {callback['type']}")
    _tell(
        f"decision {data['decision']}, score {data['score']:.3f}, generator {data['generator']}, "
        f"reasons {', '.join(data['reasons'])}"
    )
    _require(callback["type"] == "image.verdict.created", f"the callback is {callback['type']}")
    _require(data["decision"] == DECISION, f"the decision is {data['decision']}, not {DECISION}")
    _require(data["attributes"] == {"surface": "avatar"}, f"the attributes are {data['attributes']}")
    _require(receiver.refused == 0, f"{receiver.refused} callbacks had a wrong signature")

    _say("The ledger says the same")
    check = _get(f"{service}/v1/checks/{data['check_id']}", key)
    _tell(f"GET /v1/checks/{data['check_id']}: {check['state']}, {check['uri']}, {check['external_id']}")
    _require((check["state"], check["decision"]) == ("done", DECISION), f"the check is {check['state']}")
    _require(check["uri"] == f"s3://{BUCKET}/{KEY}", f"the check is of {check['uri']}")


def _upload(seaweedfs: SeaweedFS, folder: Path) -> None:
    """Half of the image by one client, the rest by another one that asks where to continue."""
    content = IMAGE.read_bytes()
    half = folder / "half"
    with IMAGE.open("rb") as file:
        client = TusClient(f"{seaweedfs.filer}/.tus/buckets/{BUCKET}/{quote(KEY)}")
        first = client.uploader(file_stream=file, chunk_size=CHUNK)
        first.upload(stop_at=len(content) // 2)
        url, offset = first.url, first.offset
    _tell(f"PATCH {url}: interrupted after {offset} of {len(content)} bytes")
    half.write_bytes(content)
    with half.open("rb") as file:
        second = client.uploader(file_stream=file, url=url, chunk_size=CHUNK)
        _require(second.offset == offset, f"the upload continues at {second.offset}")
        second.upload()
    _tell(f"HEAD, then PATCH: continued at {offset}, complete at {second.offset}")


class _Command:
    """`susy ARGUMENTS --json` with the settings of what is running."""

    def __init__(self, running: Stack) -> None:
        self._environment = {**os.environ, **running.settings.environment()}

    def __call__(self, *arguments: str) -> dict[str, Any]:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "worker", *arguments],
            env={**self._environment, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        shown = " ".join(f"'{argument}'" if " " in argument else argument for argument in arguments)
        _require(ended.returncode == 0, f"`susy {shown}`: {ended.stderr.decode(errors='replace').strip()}")
        document: dict[str, Any] = json.loads(ended.stdout)
        secret = {name: "…" for name in document if name == "key"}
        _tell(f"$ susy {shown}\n     {json.dumps({**document, **secret})}")
        return document


def _counted(service: str, key: str, outcome: str, reason: str = "") -> list[dict[str, Any]]:
    """What the service has counted, where it is more than 0."""
    counts: list[dict[str, Any]] = _get(f"{service}/v1/hooks", key)
    return [item for item in counts if item["outcome"] == outcome and reason in ("", item["reason"])]


def _get(url: str, key: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})  # noqa: S310 (our own service)
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            status: int = answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
    return status


def _eventually(value: Callable[[], Value], otherwise: str) -> Value:
    until = time.monotonic() + TIMEOUT
    while not (found := value()):
        if time.monotonic() > until:
            raise StepError(f"{otherwise} within {TIMEOUT:.0f} s")
        time.sleep(0.1)
    return found


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise StepError(otherwise)


_began = time.monotonic()


def _say(step: str) -> None:
    print(f"\n[{time.monotonic() - _began:5.1f} s] {step}", flush=True)


def _tell(fact: str) -> None:
    print(f"     {fact}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
