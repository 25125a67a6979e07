"""Fetching the released weights from the Hugging Face hub (extra `hub`)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from worker.detector.release import RELEASE, Release, import_release
from worker.detector.weights import WeightsInfo
from worker.errors import ConfigurationError, ErrorCode, SetupError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"\S*://\S*")
_TIMEOUT = 10.0


@dataclass(frozen=True)
class Published:
    """What the hub says of a file before it is fetched."""

    revision: str
    """Full commit."""
    sha256: str
    size: int | None


def pull(
    target: Path,
    *,
    endpoint: str | None = None,
    release: Release = RELEASE,
    report: Callable[[str], None] = lambda _: None,
) -> WeightsInfo:
    """Fetch the released file, check it, and write it as the weights file `target`.

    The bytes must have the SHA-256 the release is pinned to or, as long as none is pinned, the one the
    hub stores them under. Then `import_release` compares the network with ours, and its answer for the
    golden patch with the published one. `endpoint` is another server that speaks the hub's protocol
    (default: the environment's `HF_ENDPOINT`, or the hub itself). `report` is told each step, a line each.

    No token is sent. Raises `SetupError`: `missing_extra` without `huggingface_hub`, `weights_invalid`
    when the file cannot be fetched or is not the released one. `target` is then as it was before.
    """
    hub = _hub_library()
    endpoint = (endpoint or str(hub.constants.ENDPOINT)).rstrip("/")
    host = urlsplit(endpoint).hostname or endpoint
    report(f"asking {host} for {release.filename} of {release.repo} at {release.revision}")
    published = _published(hub, release, endpoint, host)
    expected = release.sha256 or published.sha256
    if published.sha256 != expected:
        raise _refused(f"{host} offers {release.filename} with SHA-256 {published.sha256}, not the pinned {expected}")

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
        report(f"fetching {release.filename}{size}")
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


def _published(hub: Any, release: Release, endpoint: str, host: str) -> Published:
    url = hub.hf_hub_url(release.repo, release.filename, revision=release.revision, endpoint=endpoint)
    with _in_one_line(release.filename, release, host):
        metadata = hub.get_hf_file_metadata(url, token=False, timeout=_TIMEOUT)
    revision, etag = str(metadata.commit_hash or ""), str(metadata.etag or "").lower()
    if not revision.startswith(release.revision):
        raise _refused(f"{host} answered with revision {revision or 'unknown'} instead of {release.revision}")
    if not _SHA256.fullmatch(etag):
        raise _refused(f"{host} does not say which SHA-256 {release.filename} has")
    return Published(revision, etag, metadata.size)


@contextmanager
def _in_one_line(filename: str, release: Release, host: str) -> Iterator[None]:
    """Turn whatever a download raises into one line without URLs, which may carry passwords.

    The library has changed its HTTP client and with it its exceptions more than once; all of them mean
    that the file is not here.
    """
    try:
        yield
    except Exception as error:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        lines = _URL.sub(host, str(error)).strip().splitlines()
        why = f"HTTP {status}" if status else f"{type(error).__name__}: {lines[0] if lines else ''}"
        raise _refused(
            f"{filename} of {release.repo} at {release.revision} did not come from {host} ({why})"
        ) from error


def _refused(why: str) -> SetupError:
    return ConfigurationError(
        ErrorCode.WEIGHTS_INVALID, f"{why}; nothing was changed. Try again, or import a file with `susy weights import`"
    )


def _hub_library() -> Any:
    try:
        import huggingface_hub.constants  # the package alone loads its parts only when it knows them
    except ImportError as error:
        raise ConfigurationError(
            ErrorCode.MISSING_EXTRA, "fetching weights needs huggingface_hub: pip install 'susy-worker[hub]'"
        ) from error
    return huggingface_hub
