"""Peak memory of a worker process: ready, and after images that are submitted at once.

    python -m bench.worker_memory [IMAGE …]

Starts embedded servers and one worker, reads the kernel's high-water mark (VmHWM of /proc) before and after.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from worker.cli.services.stack import Stack, running_stack
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="*", default=[SAMPLES / "authentic-lake.jpg"])
    images = [image.resolve() for image in parser.parse_args().images]
    ready, after, scored = peaks(images)
    print(f"worker ready: {ready:.0f} MB; peak after {len(images)} image(s), {scored} tiles scored: {after:.0f} MB")


def peaks(images: list[Path]) -> tuple[float, float, int]:
    """Megabytes when the worker is ready and after all images, submitted at once, and how many tiles were scored."""
    with tempfile.TemporaryDirectory(prefix="susy-bench-") as folder:
        log = Path(folder) / "worker.log"
        roots = tuple({image.parent for image in images})
        with (
            log.open("wb") as written,
            running_stack(Path(folder) / "state", roots, weights=DEMO, worker_log=written) as stack,
            Client(stack.settings) as client,
            Store(stack.settings.require_database_url(), pool_size=1) as store,
        ):
            process = worker_process(stack, log)
            ready = peak_megabytes(process)
            checks = [client.submit(source="bench", uri=str(image)).check_id for image in images]
            while len(store.finished(checks)) < len(checks):
                time.sleep(0.1)
            after = peak_megabytes(process)
            scans = [store.show(check_id).scan for check_id in checks]
    return ready, after, sum(int(scan.scored.sum()) for scan in scans if scan is not None)


if __name__ == "__main__":
    main()
