"""oneDNN gets weights in the order in which it reads them: what the network does at each call must not include that."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from schema.scan import Precision
from tests.support.checkout import CHECKOUT

PROGRAM = """
import sys
import threading
import torch
from schema.scan import Precision
from tests.support.released import random_susy
from worker.detector.prepare import prepare

torch.set_num_threads(4)  # of a machine with four cores
network = prepare(random_susy(), torch.device("cpu"), Precision(sys.argv[1]))
assert torch.get_num_threads() == 4, "the process keeps its number"

def lane():
    torch.set_num_threads(1)
    with torch.inference_mode():
        for count in (1, 3, 5, 16):
            print("pass", count, flush=True)
            network(torch.rand(count, 3, 224, 224).contiguous(memory_format=torch.channels_last))

thread = threading.Thread(target=lane)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction sets are those of x86")
@pytest.mark.parametrize(
    ("newest", "precision"),
    [
        ("ALL", Precision.FLOAT32),
        ("AVX512_CORE", Precision.FLOAT32),
        ("AVX2", Precision.FLOAT32),
        ("ALL", Precision.BFLOAT16),
    ],
)
def test_no_pass_brings_weights_into_another_order(newest: str, precision: Precision) -> None:
    """However many threads the process had when the network was prepared."""
    verbose = {"ONEDNN_VERBOSE": "1", "ONEDNN_MAX_CPU_ISA": newest}
    output = subprocess.check_output(
        [sys.executable, "-c", PROGRAM, precision], env=os.environ | verbose, cwd=CHECKOUT, text=True
    )
    _, *passes = output.split("pass ")
    assert len(passes) == 4
    for lines in passes:
        assert ",exec,cpu,convolution," in lines, "oneDNN says what it does"
        reordered = [line for line in lines.splitlines() if ",exec,cpu,reorder," in line]
        assert not reordered, f"{len(reordered)} reorders with {lines.split()[0]} tiles, {reordered[0]}"
