"""The machine that a bench ran on: what figures depend on, and nothing that identifies it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import PIL
import torch

from worker.detector.prepare import processor_flags
from worker.machine.cores import usable_cores

ONLY_AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
"""The environment in which oneDNN, PyTorch, MKL and NumPy use no newer instructions."""
_TOLD = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")


def is_limited_to_avx2() -> bool:
    return all(os.environ.get(name) == value for name, value in ONLY_AVX2.items())


def used_flags() -> frozenset[str]:
    """The processor's features, of which those that are newer than AVX2 may be switched off."""
    return frozenset({"avx2"}) if is_limited_to_avx2() else processor_flags()


def cpu_class(flags: frozenset[str] | None = None) -> str:
    """`AMX`, `AVX-512 with BF16`, `AVX-512`, `AVX2`, or the architecture."""
    flags = used_flags() if flags is None else flags
    for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 with BF16"), ("avx512f", "AVX-512")):
        if flag in flags:
            return name
    return "AVX2" if "avx2" in flags else platform.machine()


def describe() -> dict[str, Any]:
    """Processor, cores, versions, load and time."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "cpu_class": f"{cpu_class()}, simulated" if is_limited_to_avx2() else cpu_class(),
        "cpu": model,
        "flags": [flag for flag in _TOLD if flag in used_flags()],
        "cores": usable_cores(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
    }
