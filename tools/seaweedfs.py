"""A real S3 server with versions, multipart and tus uploads, and notifications over HTTP: SeaweedFS from its wheel.

For tests and `make demo-hooks`; data under a folder, everything on free ports of the loopback interface.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ACCESS_KEY, SECRET_KEY, REGION = "test-access-key", "test-secret-key", "us-east-1"
START_WITHIN = 60.0
"""Seconds."""
_PARTS = ("master", "volume", "filer", "s3", "admin")


class SeaweedFS:
    """All of SeaweedFS in one process. Its addresses are known before it is started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        names = [f"{part}.port" for part in _PARTS]
        self._ports = dict(zip((*names, *(f"{name}.grpc" for name in names)), free_ports(2 * len(names)), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        """Of S3."""
        self.filer = f"http://127.0.0.1:{self._ports['filer.port']}"
        """Where uploads by tus begin: `/.tus/buckets/BUCKET/KEY`."""
        self.log = folder / "weed.log"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients of S3 find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self, *, notify: str | None = None, token: str = "") -> None:
        """Start it, and return when it answers. Changes of buckets are reported to the URL `notify` with `token`."""
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        if notify:
            (self._folder / "notification.toml").write_text(
                f'[notification.webhook]\nenabled = true\nendpoint = "{notify}"\nbearer_token = "{token}"\n'
                "timeout_seconds = 10\nmax_retries = 5\nbackoff_seconds = 1\nmax_backoff_seconds = 2\nworkers = 4\n"
                'buffer_size = 1000\npath_prefixes = ["/buckets/"]\n'
            )
        options: dict[str, object] = {"dir": data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", **self._ports}
        # Neither reports to its makers, nor listens on the ports that these have when nobody chooses them.
        options |= {"master.telemetry": "false", "s3.port.iceberg": 0, "s3.port.lance": 0}
        options |= {"webdav": "false", "admin.ui": "false"}
        # Its own choice follows the free space, and on a disk that is nearly full it would take no objects at all.
        options |= {"master.volumeSizeLimitMB": 64, "volume.max": 100}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("weed"),
                    "mini",
                    *(f"-{name}={value}" for name, value in options.items()),
                ],
                cwd=self._folder,  # where it looks for notification.toml
                env=os.environ | {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until = time.monotonic() + START_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"SeaweedFS does not answer\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)

    def client(self) -> Any:
        """boto3's client of S3."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )

    def close(self) -> None:
        """Stop it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=2) as answer,  # noqa: S310 (its own address)
        ):
            return bool(answer.status == 200)
        return False


def free_ports(count: int) -> list[int]:
    """Different free TCP ports of the loopback interface."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]
