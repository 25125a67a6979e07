"""From the authors' TorchScript file to a weights file of ours, without trusting either.

The released file is a program with its weights inside. It is run once, beside our own module and on
the same tiles; only if both give the same answers are its tensors written to a safetensors file, and
the program is never needed again.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worker.detector.model import SuSy
from worker.detector.parity import LARGEST_DIFFERENCE, largest_difference, verify_golden
from worker.detector.weights import WeightsInfo, count_parameters, fill, invalid, save_weights


@dataclass(frozen=True)
class Golden:
    """One patch whose answer the authors published."""

    filename: str
    """Path of the 224×224 patch in the model repository."""
    probabilities: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class Release:
    """What is known in advance of a published file."""

    name: str
    repo: str
    """Repository on the Hugging Face hub."""
    revision: str
    """Commit of that repository, at least seven hexadecimal digits."""
    filename: str
    sha256: str | None
    """Digest of the file, where it is known; `docs/weights.md` says what is checked without one."""
    classes: tuple[str, ...]
    golden: Golden | None


RELEASE = Release(
    name="susy",
    repo="HPAI-BSC/SuSy",
    revision="54d4d55",
    filename="SuSy.pt",
    sha256=None,
    classes=(
        "authentic",
        "dalle-3-images",
        "diffusiondb",
        "midjourney-images",
        "midjourney_tti",
        "realisticSDXL",
    ),
    golden=Golden(
        filename="midjourney-images-example-patch0.png",
        probabilities=(0.000049, 0.004659, 0.00011, 0.994384, 0.000569, 0.000229),
        tolerance=5e-4,
    ),
)
"""The weights of 19 September 2024. Class names as the released `test_patch.py` lists them, golden
probabilities as the model card prints them; both say nothing of the file, which carries no names."""

_BOTTLENECKS = ("f11", "f12", "f22", "f13", "f23", "f33", "f14", "f24", "f34", "f44")
_UNUSED = "feature_extractor.resnet_model.fc."
_OWN_PREFIX = {
    "feature_extractor.resnet_model.": "",
    "feature_extractor.stages.0.0.": "conv1.",
    "feature_extractor.stages.0.1.": "bn1.",
    **{f"feature_extractor.stages.{stage}.": f"layer{stage}." for stage in range(1, 5)},
    **{f"feature_extractor.{name}.": f"{name}." for name in _BOTTLENECKS},
    **{f"feature_extractor.bottlenecks.{index}.": f"{name}." for index, name in enumerate(_BOTTLENECKS)},
    "mlp.": "",
}
"""Prefixes of the released names → of ours. Shared modules are registered under two names."""


def import_release(
    source: Path,
    target: Path,
    *,
    sha256: str | None = None,
    release: Release = RELEASE,
    name: str | None = None,
    version: str | None = None,
    golden_patch: Path | None = None,
    origin: Mapping[str, Any] | None = None,
) -> WeightsInfo:
    """Turn the TorchScript file `source` into the weights file `target`.

    A TorchScript file is a program: with `sha256` (or the release's own) it is compared before anything
    of it runs; without, it is run as it is and the weights file records that nothing was compared.
    `golden_patch` is the release's published patch, when it is at hand. `version` defaults to the first
    twelve digits of the file's digest. `origin` adds to the recorded provenance.

    Raises `ConfigurationError` (`weights_invalid`) for a file that is missing, truncated, not TorchScript, of another
    hash or of another network; `target` is then as it was before.
    """
    digest = file_digest(source)
    expected = (sha256 or release.sha256 or "").lower() or None
    if expected is not None and digest != expected:
        raise invalid(source, f"has SHA-256 {digest}, not {expected} as expected; nothing of it was run")
    original = load_torchscript(source)
    tensors = dict(original.state_dict())
    unused = sorted(key for key in tensors if key.startswith(_UNUSED))

    model = SuSy(len(release.classes)).eval()
    fill(model, own_tensors(tensors, of=source), of=str(source))
    difference = largest_difference(original, model, of=source)
    golden_difference = None
    if golden_patch is not None and release.golden is not None:
        golden_difference = verify_golden(
            model, golden_patch, release.golden.probabilities, tolerance=release.golden.tolerance
        )
    return save_weights(
        target,
        model,
        name=name or release.name,
        version=version or digest[:12],
        classes=release.classes,
        provenance={
            "source": source.name,
            "source_sha256": digest,
            "source_sha256_expected": expected,
            "released_parameters": count_parameters(model) + sum(tensors[key].numel() for key in unused),
            "left_out": unused,
            "largest_difference": difference,
            "largest_difference_allowed": LARGEST_DIFFERENCE,
            "golden_difference": golden_difference,
            "torch": str(torch.__version__),
            **(origin or {}),
        },
    )


def own_tensors(released: Mapping[str, Tensor], *, of: Path) -> dict[str, Tensor]:
    """The released state under our names, each tensor once, the unused classifier left out.

    Raises `SetupError` for a name that the released network does not have, and for two names of one
    tensor that disagree.
    """
    own: dict[str, Tensor] = {}
    for key, tensor in released.items():
        if key.startswith(_UNUSED) or key.endswith("num_batches_tracked"):
            continue
        prefix = next((prefix for prefix in _OWN_PREFIX if key.startswith(prefix)), None)
        if prefix is None:
            raise invalid(of, f"is of another network: it has a tensor {key}")
        name = _OWN_PREFIX[prefix] + key.removeprefix(prefix)
        if name in own and not torch.equal(own[name], tensor):
            raise invalid(of, f"contradicts itself: {key} and its other name hold different values")
        own[name] = tensor
    return own


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise invalid(path, f"cannot be read ({error.strerror or error})") from error


def load_torchscript(path: Path) -> nn.Module:
    """The released program on the CPU, in evaluation mode. Pickles are recognized and not opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()  # torch does not look at the checksums
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            start = file.read(4)
        why = "is truncated; fetch it again" if start == b"PK\x03\x04" else "is no TorchScript file"
        raise invalid(path, why) from error
    if damaged is not None:
        raise invalid(path, f"is damaged: {damaged} has not the checksum written beside it; fetch it again")
    if not any(name.endswith("/constants.pkl") for name in names):
        raise invalid(path, "is no TorchScript file but a pickled checkpoint, which is not opened")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as a whole, since torch 2.9
            return torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-any-return]
    except (RuntimeError, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise invalid(path, f"is damaged or no TorchScript file ({reason})") from error
