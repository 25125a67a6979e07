"""Get the photographs: Debian packages, unpacked and not installed, and two Python packages that carry some."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

from rich.progress import track

from tools.demo_weights.photographs import PHOTOGRAPHS
from worker.errors import ConfigurationError, ErrorCode, InputDataError

PYTHON_PACKAGES = {"scikit-image": "skimage", "scikit-learn": "sklearn"}


def fetch(folder: Path) -> list[Path]:
    """Download what is not in `folder` yet, and return the folders that `Photograph.find` searches.

    Needs apt-get and dpkg-deb, and a network; no root. Raises `SetupError` naming the package that did not come.
    """
    packages = sorted({photograph.package for photograph in PHOTOGRAPHS} - PYTHON_PACKAGES.keys())
    folder.mkdir(parents=True, exist_ok=True)
    for package in track(packages, "fetching photographs"):
        if not (folder / package).is_dir():
            _unpack(package, folder)
    return [folder, *(_site_packages(name) for name in PYTHON_PACKAGES.values())]


def _unpack(package: str, folder: Path) -> None:
    partial = folder / f"{package}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=partial, check=True, capture_output=True)
        (archive,) = partial.glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(partial)], check=True, capture_output=True)
        archive.unlink()
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        why = (
            error.stderr.decode(errors="replace").strip() if isinstance(error, subprocess.CalledProcessError) else error
        )
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"Debian's package {package} could not be fetched ({why}); unpack it under {folder / package} by hand",
        ) from error
    partial.rename(folder / package)


def _site_packages(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigurationError(ErrorCode.MISSING_EXTRA, f"{package} is missing: pip install 'susy-worker[rebuild]'")
    return Path(spec.origin).parent.parent
