"""What it costs a worker to read images from a bucket or by URL instead of a disk.

    python -m bench.sources

SeaweedFS and an HTTPS server run on this machine, in processes of their own; the CPU seconds are those of the process
that reads. Rounds alternate.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import trustme

from tests.support.web import Authority, web_server
from tools.seaweedfs import SeaweedFS
from worker.machine.threads import map_in_threads
from worker.settings import load_settings
from worker.sources.sources import Sources

BUCKET = "images"
SIZE = 300_000
"""Bytes of one image: those of a photograph as platforms store them."""


def main() -> None:
    """Print images per second and CPU milliseconds per image of each kind of source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = [os.urandom(SIZE) for _ in range(options.images)]
        (folder / "disk").mkdir()
        for number, image in enumerate(content):
            (folder / "disk" / str(number)).write_bytes(image)
        seaweedfs = SeaweedFS(folder / "seaweedfs")
        seaweedfs.start()
        parent, child = multiprocessing.get_context("spawn").Pipe()
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(child, folder), daemon=True)
        server.start()
        try:
            os.environ |= seaweedfs.environment
            client = seaweedfs.client()
            client.create_bucket(Bucket=BUCKET)
            for number, image in enumerate(content):
                client.put_object(Bucket=BUCKET, Key=str(number), Body=image)
            port = parent.recv()
            settings = load_settings(
                image_roots=(folder,),
                buckets=f"s3://{BUCKET}",
                url_hosts=("127.0.0.1",),
                url_networks=("127.0.0.0/8",),
                url_ports=(port,),
                ca_file=folder / "ca.pem",
            )
            with Sources(settings) as sources:
                origins = {
                    "disk": f"{folder}/disk/",
                    "bucket": f"s3://{BUCKET}/",
                    "URL": f"https://127.0.0.1:{port}/disk/",
                }
                measured: dict[str, list[tuple[float, float]]] = {kind: [] for kind in origins}
                for _ in range(options.rounds):
                    for kind, origin in origins.items():
                        measured[kind].append(_read(sources, origin, options))
        finally:
            server.kill()
            seaweedfs.close()
    for kind, rounds in measured.items():
        wall, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"{kind:7} {options.images / wall:8.0f} images/s {1000 * cpu / options.images:7.2f} CPU ms per image")


def _read(sources: Sources, origin: str, options: argparse.Namespace) -> tuple[float, float]:
    """Wall and CPU seconds of reading all images once."""
    began, cpu = time.monotonic(), time.process_time()
    uris = [f"{origin}{number}" for number in range(options.images)]
    sizes = [len(fetched.content) for fetched in map_in_threads(sources.read, uris, options.threads)]
    assert sizes == [SIZE] * options.images
    return time.monotonic() - began, time.process_time() - cpu


def _serve(connection: Connection, folder: Path) -> None:
    """An HTTPS server of the images, until this process is killed."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    with web_server(Authority(folder / "ca.pem", authority), "127.0.0.1") as server:
        for path in (folder / "disk").iterdir():
            server.serve(f"/disk/{path.name}", path.read_bytes())
        connection.send(server.port)
        time.sleep(3600)


if __name__ == "__main__":
    main()
