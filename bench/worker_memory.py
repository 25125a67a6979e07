"""Peak memory of a worker process: ready, and after one image.

    python -m bench.worker_memory [IMAGE]

Starts embedded servers and one worker, reads the kernel's high-water mark (VmHWM of /proc) before and after.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import PIL.Image

from worker.cli.stack import Stack, running_stack
from worker.client import Client
from worker.demo import SAMPLES
from worker.detector.paths import DEMO
from worker.store import Store


def peak_megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def worker_process(stack: Stack, log: Path) -> int:
    while "worker_ready" not in log.read_text():
        stack.supervise()
        time.sleep(0.1)
    return stack.processes[0].pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, nargs="?", default=SAMPLES / "authentic-lake.jpg")
    image = parser.parse_args().image.resolve()
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as folder:
        log = Path(folder) / "worker.log"
        with (
            log.open("wb") as written,
            running_stack(Path(folder) / "state", (image.parent,), weights=DEMO, worker_log=written) as stack,
            Client(stack.settings) as client,
            Store(stack.settings.require_database_url(), pool_size=1) as store,
        ):
            process = worker_process(stack, log)
            ready = peak_megabytes(process)
            check_id = client.submit(source="bench", uri=str(image)).check_id
            while not (view := store.show(check_id)).state.is_final:
                time.sleep(0.1)
            after = peak_megabytes(process)
    with PIL.Image.open(image) as opened:
        megapixels = opened.width * opened.height / 1e6
    scored = 0 if view.scan is None else int(view.scan.scored.sum())
    print(f"{image.name}: {megapixels:.1f} megapixels, {scored} tiles scored")
    print(f"worker ready: {ready:.0f} MB; peak after the image: {after:.0f} MB")


if __name__ == "__main__":
    main()
