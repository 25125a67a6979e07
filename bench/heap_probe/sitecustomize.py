"""Records what a worker has allocated, beside what is resident: a leak lets the first grow, kept memory the second.

    PYTHONPATH=$PWD:bench/heap_probe BENCH_HEAP_LOG=/tmp/heap.log python -m bench.flat_memory

Python imports this module at its start. In the worker, a thread appends a line to the file every five seconds: time,
resident megabytes, megabytes that glibc has given out and not got back (`mallinfo2`), objects of the garbage collector
and checks done.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from pathlib import Path


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used", "free", "keepcost")
    )


def _record(path: Path) -> None:
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Mallinfo2
    while True:
        time.sleep(5)
        allocated = libc.mallinfo2()
        resident = int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024
        celery = sys.modules.get("celery.worker.state")
        done = sum(celery.total_count.values()) if celery else 0
        line = f"{time.time():.0f} {resident / 1e6:.1f} {(allocated.used + allocated.hblkhd) / 1e6:.1f}"
        with path.open("a") as log:
            log.write(f"{line} {len(gc.get_objects())} {done}\n")


if "BENCH_HEAP_LOG" in os.environ and "--attended" in sys.orig_argv:
    threading.Thread(target=_record, args=(Path(os.environ["BENCH_HEAP_LOG"]),), daemon=True).start()
