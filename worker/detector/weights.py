"""Weights files: one safetensors file that carries its own name, classes, digest and provenance."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from worker.detector.model import SuSy
from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.files import read_regular_file, write_atomically

FORMAT = "susy-worker/weights/1"
MAX_FILE_BYTES = 256_000_000
"""Five times the size of the released network in float32."""
MAX_CLASSES = 1000
DTYPES = (torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True)
class WeightsInfo:
    """The metadata of a weights file."""

    name: str
    version: str
    classes: tuple[str, ...]
    """Class names by index; index 0 is the authentic class."""
    sha256: str
    """Digest of the class names, the tensors (names, types, shapes, bytes) and a temperature other than 1; checked
    at every load."""
    parameters: int
    provenance: Mapping[str, Any]
    """Where the weights come from: the source file and its hash, or training data, recipe and metrics."""
    temperature: float = 1.0
    """What logits are divided by before softmax; see `SuSy.temperature`."""

    @property
    def is_demo(self) -> bool:
        """Demonstration weights show how the system works; their scores decide nothing."""
        return bool(self.provenance.get("demo", False))

    @property
    def precision_differences(self) -> dict[str, float]:
        """The largest change of a probability by device and precision (`cpu/bfloat16`), as the import measured it;
        empty where it was not measured."""
        measured = self.provenance.get("precision_differences")
        if not isinstance(measured, Mapping):
            return {}
        return {str(name): float(change) for name, change in measured.items() if isinstance(change, int | float)}


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
    """Write `model` and its temperature to `path` (atomically) with its metadata; `dtype` float16 halves the file.

    Raises `ConfigurationError`: `weights_invalid` when a value is not finite in `dtype`, the temperature is not a
    finite number above 0, or a name is not printable; `not_a_file` and `disk_full` as `write_atomically` does.
    """
    tensors = {
        key: tensor.detach().cpu().to(dtype).contiguous()
        for key, tensor in model.state_dict().items()
        if not key.endswith("num_batches_tracked")  # counts training steps; nothing reads it
    }
    if overflowing := [key for key, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise invalid(path, f"was not written: {overflowing[0]} is not finite as {dtype}")
    try:
        _check_names(name, version, classes)
    except ValueError as error:
        raise invalid(path, f"was not written: {error}") from error
    if not _is_temperature(model.temperature):
        raise invalid(path, f"was not written: temperature {model.temperature} is not a finite number above 0")
    digest = _digest(tensors, classes, model.temperature)
    metadata = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "classes": json.dumps(list(classes)),
        "sha256": digest,
        "temperature": repr(float(model.temperature)),
        "provenance": json.dumps(dict(provenance), sort_keys=True),
    }
    # Not `save_file`: only its owner can read the file it makes, and a worker often runs as another user.
    write_atomically(path, save(tensors, metadata))
    return WeightsInfo(
        name, version, tuple(classes), digest, count_parameters(model), dict(provenance), float(model.temperature)
    )


def load_weights(path: Path) -> tuple[SuSy, WeightsInfo]:
    """Read a weights file into a float32 module in evaluation mode.

    Raises `ConfigurationError` (`weights_invalid`) for a file that is missing, truncated, altered or of another
    network.
    """
    tensors, info = _read(path)
    model = build(tensors, len(info.classes), of=path)
    model.temperature = info.temperature
    return model, replace(info, parameters=count_parameters(model))


def _read(path: Path) -> tuple[dict[str, Tensor], WeightsInfo]:
    """The tensors and metadata of a file, consistent with each other; the parameters are not counted yet."""
    if not path.exists():
        raise invalid(path, "does not exist; run `susy weights pull`, or set SUSY_WEIGHTS to a weights file")
    try:
        content = read_regular_file(path, MAX_FILE_BYTES)  # not mapped: a mapped file that is cut ends the process
        tensors = load(content)
        metadata = _metadata(content)
    except OSError as error:
        raise invalid(path, f"cannot be read: {error.strerror}") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise invalid(path, f"is truncated or not a safetensors file ({error}); fetch it again") from error
    if metadata.get("format") != FORMAT:
        raise invalid(path, "was not written by susy-worker; import a released file with `susy weights import`")

    try:
        info = WeightsInfo(
            name=metadata["name"],
            version=metadata["version"],
            classes=tuple(_checked(json.loads(metadata["classes"]), list)),
            sha256=metadata["sha256"],
            parameters=0,
            provenance=_checked(json.loads(metadata["provenance"]), dict),
            temperature=float(metadata.get("temperature", 1)),  # files written before temperatures existed lack it
        )
        _check_names(info.name, info.version, info.classes)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise invalid(path, f"has damaged metadata ({error}); fetch it again") from error
    if not _is_temperature(info.temperature):
        raise invalid(path, f"has temperature {info.temperature}, not a finite number above 0; fetch it again")
    for key, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise invalid(path, f"has a tensor {key[:100]} of type {tensor.dtype}, not one of floating point numbers")
    if _digest(tensors, info.classes, info.temperature) != info.sha256:
        raise invalid(path, "was altered: tensors, classes or temperature do not match its digest; fetch it again")
    if infinite := [key for key, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise invalid(path, f"has values that are not finite, first in {infinite[0][:100]}")
    return tensors, info


def rewrite_weights(
    source: Path,
    target: Path,
    added: Mapping[str, Any],
    *,
    temperature: float | None = None,
    dtype: torch.dtype | None = None,
) -> WeightsInfo:
    """Write the weights of `source` to `target`, which may be `source` itself, with `added` in the provenance.

    Name, version and classes are kept; so are the temperature and the tensors' dtype unless given. Raises
    `ConfigurationError` as `load_weights` and `save_weights` do.
    """
    tensors, info = _read(source)
    model = build(tensors, len(info.classes), of=source)
    model.temperature = info.temperature if temperature is None else temperature
    return save_weights(
        target,
        model,
        name=info.name,
        version=info.version,
        classes=info.classes,
        provenance={**info.provenance, **added},
        dtype=dtype or next(iter(tensors.values())).dtype,
    )


def build(tensors: Mapping[str, Tensor], num_classes: int, *, of: Path | str) -> SuSy:
    """The network of `tensors` as a float32 module in evaluation mode.

    Tensors that are float32 already become the module's, without a copy. `of` names their file when names or shapes are
    not the network's, in a `ConfigurationError` (`weights_invalid`).
    """
    with torch.device("meta"):  # no memory and no random values for what is replaced
        model = SuSy(num_classes).eval()
    own = model.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # of training steps; not stored
    expected = {key: tensor.shape for key, tensor in own.items() if key not in counters}
    if missing := sorted(expected.keys() - tensors.keys()):
        raise invalid(of, f"is of another network: {len(missing)} tensors are missing, the first {missing[0]}")
    if surplus := sorted(tensors.keys() - expected.keys()):
        raise invalid(of, f"is of another network: {len(surplus)} tensors are unknown, the first {surplus[0]}")
    for key, shape in expected.items():
        if tensors[key].shape != shape:
            raise invalid(of, f"is of another network: {key} has shape {list(tensors[key].shape)}, not {list(shape)}")
    state = {key: tensor.float() for key, tensor in tensors.items()}
    state.update({key: torch.zeros(own[key].shape, dtype=own[key].dtype) for key in counters})
    model.load_state_dict(state, assign=True)
    return model


def count_parameters(model: torch.nn.Module) -> int:
    """The number of trained parameters, without the running means and variances."""
    return sum(parameter.numel() for parameter in model.parameters())


def invalid(what: Path | str, why: str) -> SetupError:
    """The error for a weights file that is refused, in one line."""
    return ConfigurationError(ErrorCode.WEIGHTS_INVALID, f"weights file {what} {why}")


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata in the header of a safetensors file, whose header has been found to be valid."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return metadata


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.100} instead of a {kind.__name__}")
    return value


def _check_names(name: str, version: str, classes: Sequence[str]) -> None:
    """Raise `ValueError` for names that cannot be shown on a terminal or stored in the database."""
    for text in (name, version, *classes):
        if not text or not isinstance(text, str) or not text.isprintable():
            raise ValueError(f"{text!r:.100} is not a printable name")
    if not 2 <= len(set(classes)) == len(classes) <= MAX_CLASSES:
        raise ValueError(f"it must have 2 to {MAX_CLASSES} classes of different names")


def _is_temperature(number: float) -> bool:
    return math.isfinite(number) and number > 0


def _digest(tensors: Mapping[str, Tensor], classes: Sequence[str], temperature: float) -> str:
    digest = hashlib.sha256(
        json.dumps(list(classes)).encode() + b"\n"
    )  # with other class names, the same tensors mean another network
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    if temperature != 1:  # files written before temperatures existed keep their digest
        digest.update(f"temperature {float(temperature)!r}\n".encode())
    return digest.hexdigest()
