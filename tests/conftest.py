"""What every test can use: real servers, databases, a worker's settings, the `susy` command.

A test file is named after the module that it tests, with an aspect of it if there are several: `test_decode_fuzz.py`
tests `decode.py` (`test_layout.py` checks it). What crosses modules is in the folders acceptance, backlog, chaos,
deployment, examples and packaging, or, for the command line, named after what the commands have in common.

Postgres and Redis are those of SUSY_TEST_DATABASE_URL and SUSY_TEST_REDIS_URL, or embedded ones, started once per
pytest process.
"""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import hypothesis
import pytest

gc.disable()  # while all tests are imported and collected, from which hardly anything is garbage
# Test processes run side by side; one thread each keeps PyTorch from contending for cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asking for a GPU by CUDA would take it from the forks
# glibc keeps what is freed. It would give back what a network and its checkpoints take, and have it zeroed once more.
if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_MMAP_MAX, 0)
for name in [name for name in os.environ if name.startswith("SUSY_") and not name.startswith("SUSY_TEST_")]:
    del os.environ[name]

# A busy machine pauses a process for longer than Hypothesis allows an example.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

pytest_plugins = [
    "tests.support.usage",
    "tests.support.pytest_forks",
    "tests.support.servers",
    "tests.support.databases",
    "tests.support.moderating",
    "tests.support.commands",
    "tests.support.on_path",
    "tests.support.seaweedfs",
    "tests.support.sqs",
    "tests.support.http_service",
    "tests.support.web",
    "tests.support.workplace",
]


GIGABYTES_PER_PROCESS = 2
"""Of memory: a test process with PyTorch, its servers, and the workers that it starts."""
LONGEST = (
    "acceptance/test_frozen_servers.py",
    "lab/training/test_loop.py",
    "acceptance/test_redis_failover.py",
    "lab/evaluation/test_evaluation_commands.py",
    "acceptance/test_worker.py",
    "detector/test_release.py",
    "acceptance/test_readme.py",
    "store/test_store_outages.py",
    "detector/test_prepare.py",
    "detector/test_weights.py",
    "intake/test_decode_memory.py",
    "detector/test_release_pull.py",
    "lab/training/test_distributed.py",
    "machine/test_memory.py",
    "store/test_connection_failover.py",
    "queue/test_attempt.py",
    "intake/test_decode_fuzz.py",
    "packaging/test_plain_install.py",
    "serve/gate/test_gate.py",
    "lab/evaluation/test_scorer.py",
    "hooks/test_consume.py",
    "lab/thresholds/test_measure_coverage.py",
    "store/test_store_text.py",
    "serve/requests/test_authorization.py",
    "tools/demo_weights/test_build.py",
    "detector/test_parity.py",
    "cli/test_output.py",
    "lab/training/test_resident.py",
    "acceptance/test_redis_urls.py",
)
"""Files that take longest, which are begun first, so that no process works alone on one in the end: the files at the
top of `--durations` and `--usage`."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three more processes than processors, because tests wait for servers and clocks; at most eight, within memory."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min(len(os.sched_getaffinity(0)) + 3, 8, int(gigabytes / GIGABYTES_PER_PROCESS)))


def pytest_configure(config: pytest.Config) -> None:
    """Spare TLS contexts the system's authorities, a hundred and more certificates that take each of them 30 ms.

    Servers of tests have certificates of authorities of their own. Registries, which two groups of tests need, do not.
    """
    if config.option.markexpr not in ("compose", "registry"):
        os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "support" / "authority.pem")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    ranks = {Path(__file__).parent / file: rank for rank, file in enumerate(LONGEST)}
    assert all(path.exists() for path in ranks), "a file of LONGEST was moved"
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Spare the collector what stays until the end: modules and tests are most of all objects."""
    gc.freeze()
    gc.enable()
