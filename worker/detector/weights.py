"""Weights files: one safetensors file that carries its own name, classes, digest and provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from worker.detector.model import SuSy
from worker.errors import ErrorCode, SetupError

FORMAT = "susy-worker/weights/1"


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says of itself."""

    name: str
    version: str
    classes: tuple[str, ...]
    """Class names by index; index 0 is the authentic class."""
    sha256: str
    """Digest of the tensors (names, types, shapes, bytes), checked at every load."""
    parameters: int
    provenance: Mapping[str, Any]
    """Where the weights come from: source file and its hash, or training data, recipe and metrics."""

    @property
    def is_demo(self) -> bool:
        """Demo weights show the machinery; what they say of an image decides nothing."""
        return bool(self.provenance.get("demo", False))


def save_weights(
    path: Path,
    model: SuSy,
    *,
    name: str,
    version: str,
    classes: Sequence[str],
    provenance: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> WeightsInfo:
    """Write `model` to `path` (atomically) with its metadata; `dtype` float16 halves the file."""
    tensors = {
        key: tensor.detach().cpu().to(dtype).contiguous()
        for key, tensor in model.state_dict().items()
        if not key.endswith("num_batches_tracked")  # counts training steps; nothing reads it
    }
    digest = _digest(tensors)
    metadata = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "classes": json.dumps(list(classes)),
        "sha256": digest,
        "provenance": json.dumps(dict(provenance), sort_keys=True),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata)
    partial.replace(path)
    return WeightsInfo(name, version, tuple(classes), digest, count_parameters(model), dict(provenance))


def load_weights(path: Path, *, sha256: str | None = None) -> tuple[SuSy, WeightsInfo]:
    """Read a weights file into a float32 module in evaluation mode.

    Raises `SetupError` (`weights_invalid`) for a file that is missing, truncated, altered, of another
    network, or whose digest is not the `sha256` asked for.
    """
    if not path.is_file():
        raise _invalid(path, "is not there; run `susy weights pull`, or set SUSY_WEIGHTS to a weights file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise _invalid(path, f"is truncated or no safetensors file ({error}); fetch it again") from error
    if metadata.get("format") != FORMAT:
        raise _invalid(path, "was not written by susy-worker; import a released file with `susy weights import`")

    digest = _digest(tensors)
    if digest != metadata["sha256"]:
        raise _invalid(path, "has other tensors than its digest says; it was altered, fetch it again")
    if sha256 is not None and digest != sha256:
        raise _invalid(path, f"has digest {digest[:12]}…, not the {sha256[:12]}… asked for")

    classes = tuple(json.loads(metadata["classes"]))
    model = SuSy(len(classes))
    fill(model, tensors, of=str(path))
    info = WeightsInfo(
        name=metadata["name"],
        version=metadata["version"],
        classes=classes,
        sha256=digest,
        parameters=count_parameters(model),
        provenance=json.loads(metadata["provenance"]),
    )
    return model.eval(), info


def fill(model: SuSy, tensors: Mapping[str, Tensor], *, of: str) -> None:
    """Copy `tensors` into `model` as float32, after checking that names and shapes are the same."""
    expected = {
        key: tensor.shape for key, tensor in model.state_dict().items() if not key.endswith("num_batches_tracked")
    }
    if missing := sorted(expected.keys() - tensors.keys()):
        raise _invalid(of, f"is of another network: {len(missing)} tensors are missing, the first {missing[0]}")
    if surplus := sorted(tensors.keys() - expected.keys()):
        raise _invalid(of, f"is of another network: {len(surplus)} tensors too many, the first {surplus[0]}")
    for key, shape in expected.items():
        if tensors[key].shape != shape:
            raise _invalid(of, f"is of another network: {key} has shape {list(tensors[key].shape)}, not {list(shape)}")
    model.load_state_dict({key: tensor.float() for key, tensor in tensors.items()}, strict=False)


def count_parameters(model: torch.nn.Module) -> int:
    """The number of trained numbers (running means and variances are not among them)."""
    return sum(parameter.numel() for parameter in model.parameters())


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _invalid(what: Path | str, why: str) -> SetupError:
    return SetupError(ErrorCode.WEIGHTS_INVALID, f"weights file {what} {why}")
