"""How the authors' released file becomes a weights file of susy-worker: downloaded, checked, imported.

The released file is a TorchScript program that contains its weights. It is run once, in a process of its own with
limits, on the same tiles as our own network. Only if both give the same answers are its tensors written to a
safetensors file; after that, the program is not needed.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from worker.detector.parity import (
    LARGEST_DIFFERENCE,
    LARGEST_LOGIT_DIFFERENCE,
    compare,
    precision_differences,
    verify_golden,
)
from worker.detector.torchscript import IMPORT_LIMITS, Limits, TorchScriptProgram
from worker.detector.torchscript_archive import shown
from worker.detector.weights import WeightsInfo, build, count_parameters, invalid, save_weights
from worker.errors import ConfigurationError, ErrorCode, SetupError
from worker.extras import require_extra
from worker.files import read_regular_file, require_replaceable


@dataclass(frozen=True)
class Golden:
    """A tile whose probabilities the authors published."""

    filename: str
    """Path of the 224×224 patch in the model repository."""
    probabilities: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class Release:
    """What is known of a published file before it is downloaded."""

    name: str
    repo: str
    """Repository on the Hugging Face hub."""
    revision: str
    """Commit of that repository, at least seven hexadecimal digits."""
    filename: str
    sha256: str | None
    """Digest of the file, if it is known; `docs/weights.md` says what is checked without it."""
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
"""The weights of 19 September 2024. The class names are those of the released `test_patch.py`, the golden
probabilities those of the model card; the file itself carries no names."""

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
"""Prefixes of the released tensor names → prefixes of ours. Shared modules are registered under two names."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"\S*://\S*")
_TIMEOUT = 10.0


def pull(
    target: Path,
    *,
    endpoint: str | None = None,
    release: Release = RELEASE,
    report: Callable[[str], None] = lambda _: None,
) -> WeightsInfo:
    """Download the released file, check it, and write it as the weights file `target`.

    The bytes must have the SHA-256 that the release is pinned to or, while none is pinned, the one under which the
    hub stores them. Then `import_release` compares the network with ours, and its answer for the golden patch with the
    published one. `endpoint` is another server with the hub's protocol (default: the environment's
    `HF_ENDPOINT`, or the hub itself). `report` receives one line per step. No token is sent.

    Raises `ConfigurationError`: `missing_extra` without `huggingface_hub`, `weights_invalid` when the file cannot be
    downloaded or is not the released one, `not_a_file` when `target` is something else than a regular file. `target`
    then stays as it was.
    """
    require_replaceable(target)
    hub = _hub_library()
    endpoint = (endpoint or str(hub.constants.ENDPOINT)).rstrip("/")
    host = urlsplit(endpoint).hostname or endpoint
    report(f"asking {host} for {release.filename} of {release.repo} at {release.revision}")
    published = _published(hub, release, endpoint, host)
    expected = release.sha256 or published.sha256
    if published.sha256 != expected:
        raise _refused(f"{host} offers {release.filename} with SHA-256 {published.sha256}, not the pinned {expected}")
    if (published.size or 0) > IMPORT_LIMITS.file_bytes:
        raise _refused(f"{host} offers {release.filename} with more than {IMPORT_LIMITS.file_bytes:,} bytes")

    with tempfile.TemporaryDirectory(prefix="susy-weights-") as folder:

        def fetch(filename: str) -> Path:
            with _in_one_line(filename, release, host):
                return Path(
                    hub.hf_hub_download(
                        release.repo,
                        filename,
                        revision=published.revision,
                        endpoint=endpoint,
                        local_dir=folder,
                        token=False,
                    )
                )

        size = f" ({published.size / 1e6:.1f} MB)" if published.size else ""
        report(f"downloading {release.filename}{size}")
        source = fetch(release.filename)
        golden_patch = fetch(release.golden.filename) if release.golden else None
        report("comparing its answers with ours")
        return import_release(
            source,
            target,
            sha256=expected,
            release=release,
            version=release.revision,
            golden_patch=golden_patch,
            origin={
                "repository": release.repo,
                "revision": published.revision,
                "source_sha256_pinned": release.sha256 is not None,
            },
        )


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
    limits: Limits = IMPORT_LIMITS,
) -> WeightsInfo:
    """Turn the TorchScript file `source` into the weights file `target`.

    A TorchScript file is a program. With `sha256` (or the release's own), its digest is compared before the program
    runs; without, the weights file records that nothing was compared. `golden_patch` is the release's published patch,
    if available. `version` defaults to the first twelve digits of the file's digest. `origin` is added to the recorded
    provenance. `limits` bounds what the program may use.

    Raises `ConfigurationError` (`weights_invalid`) for a file that is missing, truncated, not TorchScript, of another
    hash or of another network, and for a program that crashes, hangs or exceeds its limits; (`not_a_file`) when
    `target` is something else than a regular file. `target` then stays as it was.
    """
    require_replaceable(target)
    try:
        content = read_regular_file(source, limits.file_bytes)
    except OSError as error:
        raise invalid(source, f"cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    expected = (sha256 or release.sha256 or "").lower() or None
    if expected is not None and digest != expected:
        raise invalid(source, f"has SHA-256 {digest}, not {expected} as expected; it was not run")

    with TorchScriptProgram(content, source, limits) as original:
        tensors = original.state()
        unused = sorted(key for key in tensors if key.startswith(_UNUSED))
        model = build(own_tensors(tensors, of=source), len(release.classes), of=source)
        golden_difference = None
        if golden_patch is not None and release.golden is not None:  # one tile, before the many of `compare`
            golden_difference = verify_golden(
                model, golden_patch, release.golden.probabilities, tolerance=release.golden.tolerance
            )
        parity = compare(original.answer, model, of=source)
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
            "largest_difference": parity.probability,
            "largest_difference_allowed": LARGEST_DIFFERENCE,
            "largest_logit_difference": parity.logit,
            "largest_logit_difference_allowed": LARGEST_LOGIT_DIFFERENCE,
            "golden_difference": golden_difference,
            "precision_differences": precision_differences(model),
            "torch": str(torch.__version__),
            **(origin or {}),
        },
    )


def own_tensors(released: Mapping[str, Tensor], *, of: Path) -> dict[str, Tensor]:
    """The released state under our names, each tensor once, without the unused classifier.

    Raises `ConfigurationError` (`weights_invalid`) for a name that the released network does not have, and for a
    tensor whose two names have different values.
    """
    own: dict[str, Tensor] = {}
    for key, tensor in released.items():
        if key.startswith(_UNUSED) or key.endswith("num_batches_tracked"):
            continue
        prefix = next((prefix for prefix in _OWN_PREFIX if key.startswith(prefix)), None)
        if prefix is None:
            raise invalid(of, f"is of another network: it has a tensor {shown(key)}")
        name = _OWN_PREFIX[prefix] + key.removeprefix(prefix)
        if name in own and not torch.equal(own[name], tensor):
            raise invalid(of, f"contradicts itself: {key} and its other name have different values")
        own[name] = tensor
    return own


@dataclass(frozen=True)
class _Published:
    """What the hub says of a file before it is downloaded."""

    revision: str
    """The full commit."""
    sha256: str
    size: int | None


def _published(hub: Any, release: Release, endpoint: str, host: str) -> _Published:
    url = hub.hf_hub_url(release.repo, release.filename, revision=release.revision, endpoint=endpoint)
    with _in_one_line(release.filename, release, host):
        metadata = hub.get_hf_file_metadata(url, token=False, timeout=_TIMEOUT)
    revision, etag = str(metadata.commit_hash or ""), str(metadata.etag or "").lower()
    if not revision.startswith(release.revision):
        raise _refused(f"{host} answered with revision {revision or 'unknown'} instead of {release.revision}")
    if not _SHA256.fullmatch(etag):
        raise _refused(f"{host} does not say which SHA-256 {release.filename} has")
    return _Published(revision, etag, metadata.size)


@contextmanager
def _in_one_line(filename: str, release: Release, host: str) -> Iterator[None]:
    """Turn whatever a download raises into one line without URLs, which may carry passwords.

    The library has changed its HTTP client, and with it its exceptions, more than once; all of them mean that the
    file was not downloaded.
    """
    try:
        yield
    except Exception as error:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        lines = _URL.sub(host, str(error)).strip().splitlines()
        why = f"HTTP {status}" if status else f"{type(error).__name__}: {lines[0] if lines else ''}"
        raise _refused(
            f"{filename} of {release.repo} at {release.revision} was not downloaded from {host} ({why})"
        ) from error


def _refused(why: str) -> SetupError:
    return ConfigurationError(
        ErrorCode.WEIGHTS_INVALID, f"{why}; nothing was written. Try again, or import a file with `susy weights import`"
    )


def _hub_library() -> Any:
    require_extra("hub", what="downloading weights")
    import huggingface_hub.constants  # the package loads its modules lazily

    return huggingface_hub
