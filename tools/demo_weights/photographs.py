"""The photographs that are rebuilt (`photographs.csv`), and how the packages that contain them are downloaded.

Every file was looked at, so that the list has camera photographs only: no renderings, illustrations, paintings or
screenshots. The split was fixed before any training, by photograph and by package of origin: no package has
photographs in two splits. The photographs themselves are not part of this project.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from worker.errors import ErrorCode, InputDataError

SPLITS = ("train", "val", "test")
_WEBP = re.compile(rb"RIFF(....)WEBP", re.DOTALL)


@dataclass(frozen=True)
class Photograph:
    """One photograph, identified by the package that contains it and its path in that package."""

    name: str
    split: str
    source: str
    """`npm`, `pypi`, or `debian` and the release whose package has the file."""
    package: str
    """Of npm and PyPI with its version: `uikit@3.25.29`, `gradio==6.31.0`."""
    path: str
    author: str
    """As far as the package says; otherwise the package's contributors."""
    licence: str
    """SPDX identifier of the photograph's licence or, where the package states none for it, of the package's."""

    @property
    def folder(self) -> str:
        """The name of the unpacked package's folder."""
        return re.sub(r"[^a-z0-9.=@-]+", "-", f"{self.source} {self.package}".lower())

    def find(self, roots: Sequence[Path]) -> Path | None:
        """The file under the first root that has it; a root is a folder of unpacked packages."""
        candidates = (root / self.folder / self.path for root in roots)
        return next((path for path in candidates if path.is_file()), None)


LIST = Path(__file__).with_name("photographs.csv")


def read_photographs(path: Path = LIST) -> tuple[Photograph, ...]:
    """The photographs of a list, in its order."""
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(Photograph(**row) for row in csv.DictReader(file))


PHOTOGRAPHS = read_photographs()


def fetch(folder: Path, photographs: Sequence[Photograph] = PHOTOGRAPHS) -> list[Path]:
    """Download the packages that are not in `folder` yet, and return the folders that `Photograph.find` searches.

    Packages are unpacked and neither installed nor run. This needs apt-get, dpkg-deb, npm, pip and a network, but not
    root. Raises `InputDataError` (`data_invalid`) naming the package that cannot be downloaded.
    """
    packages = {photograph.folder: photograph for photograph in photographs}
    folder.mkdir(parents=True, exist_ok=True)
    for name, of in track(sorted(packages.items()), "downloading photographs"):
        if not (folder / name).is_dir():
            _unpack(of, folder / name)
    return [folder]


def _unpack(of: Photograph, target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    kind, _, release = of.source.partition(" ")
    try:
        _UNPACKERS[kind](of.package, release, partial)
    except (OSError, subprocess.CalledProcessError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
        output = error.stderr if isinstance(error, subprocess.CalledProcessError) else b""
        reason = output.decode(errors="replace").strip() or error
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"the package {of.package} ({of.source}) cannot be downloaded ({reason}); unpack it as {target} yourself",
        ) from error
    for resources in partial.rglob("*.rcc"):
        extract_webp(resources)
    partial.rename(target)


def _debian(package: str, release: str, partial: Path) -> None:
    options = _release_options(partial.parent / "apt", release)
    _run(["apt-get", *options, "download", "-qq", package], partial)
    (archive,) = partial.glob("*.deb")
    _run(["dpkg-deb", "--extract", archive.name, "."], partial)
    archive.unlink()


def _release_options(folder: Path, release: str) -> list[str]:
    """Options with which apt-get knows the packages of `release`, from the machine's own mirror, and no others."""
    own = folder / release
    sources = own / "sources.list"
    options = [
        "-o", f"Dir::State::Lists={own.resolve() / 'lists'}",
        "-o", f"Dir::Cache={own.resolve() / 'cache'}",
        "-o", f"Dir::Etc::SourceList={sources.resolve()}",
        "-o", "Dir::Etc::SourceParts=-",
    ]  # fmt: skip
    if not sources.is_file():
        for part in ("lists/partial", "cache/archives/partial"):
            (own / part).mkdir(parents=True, exist_ok=True)
        sites = _run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)"], folder).splitlines()
        mirror = next(line.split()[0] for line in sites if "/debian " in line)
        keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
        sources.write_text(f"deb [signed-by={keys}] {mirror} {release} main\n")
        _run(["apt-get", *options, "update", "-qq"], folder)
    return options


def _npm(package: str, _release: str, partial: Path) -> None:
    _run(["npm", "pack", "--silent", package], partial)
    (archive,) = partial.glob("*.tgz")
    with tarfile.open(archive) as opened:
        opened.extractall(partial, filter="data")
    archive.unlink()


def _pypi(package: str, _release: str, partial: Path) -> None:
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", package], partial)
    (archive,) = partial.glob("*.whl")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(partial)  # noqa: S202 - ZipFile keeps members inside the folder
    archive.unlink()


_UNPACKERS: dict[str, Callable[[str, str, Path], None]] = {"debian": _debian, "npm": _npm, "pypi": _pypi}


def _run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600).stdout.decode()


def extract_webp(resources: Path) -> None:
    """Write the WebP files within a file of Qt resources, in order, as `000.webp`, … into a folder beside it."""
    content = resources.read_bytes()
    for number, found in enumerate(_WEBP.finditer(content)):
        folder = resources.with_suffix("")
        folder.mkdir(exist_ok=True)
        size = int.from_bytes(found[1], "little") + 8
        (folder / f"{number:03}.webp").write_bytes(content[found.start() : found.start() + size])
