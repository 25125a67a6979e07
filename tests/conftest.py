"""What every test can use: real servers, databases, a worker's settings, the `susy` command.

A test file is named after the module that it tests, with an aspect of it if there are several: `test_decode_fuzz.py`
tests `decode.py`. What crosses modules is in the folders acceptance, backlog, chaos, deployment, examples and
packaging, or, for the command line, named after what the commands have in common.

Postgres and Redis are those of SUSY_TEST_DATABASE_URL and SUSY_TEST_REDIS_URL, or embedded ones, started once per
pytest process.
"""

from __future__ import annotations

import gc
import os

import pytest

# Test processes run side by side; one thread each keeps PyTorch from contending for cores.
os.environ["OMP_NUM_THREADS"] = "1"
for name in [name for name in os.environ if name.startswith("SUSY_") and not name.startswith("SUSY_TEST_")]:
    del os.environ[name]

pytest_plugins = [
    "tests.support.usage",
    "tests.support.servers",
    "tests.support.databases",
    "tests.support.commands",
    "tests.support.on_path",
    "tests.support.seaweedfs",
    "tests.support.sqs",
    "tests.support.web",
    "tests.support.workplace",
]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more process than processors, because some tests wait; each has servers of its own, which need memory."""
    return min(len(os.sched_getaffinity(0)) + 1, 4)


def pytest_collection_finish() -> None:
    """Spare the collector what stays until the end: modules and tests are most of all objects."""
    gc.collect()
    gc.freeze()
