"""The photographs that are rebuilt: package, path, author, licence and split of each; and how they are downloaded.

Every file was inspected, so that the list has camera photographs only: no renderings, illustrations, paintings or
composed wallpapers. The split was fixed before any training, by photograph and never by tile. Two views of one scene
are never in two splits. The photographs themselves are not part of this project.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from worker.errors import ConfigurationError, ErrorCode, InputDataError

SPLITS = ("train", "val", "test")
PYTHON_PACKAGES = {"scikit-image": "skimage", "scikit-learn": "sklearn"}
"""Distributions that contain photographs, and the packages they install."""


@dataclass(frozen=True)
class Photograph:
    """One photograph, identified by the package that contains it and its path in that package."""

    name: str
    split: str
    package: str
    path: str
    author: str
    licence: str

    def find(self, roots: Sequence[Path]) -> Path | None:
        """The file under the first root that has it; a root is an unpacked package or a folder of unpacked packages."""
        for root in roots:
            for candidate in (root / self.path, root / self.package / self.path):
                if candidate.is_file():
                    return candidate
        return None


def _lomiri(split: str, file: str, author: str, licence: str, release: str = "16.04") -> Photograph:
    # Authors and licences: debian/copyright of lomiri-wallpapers.
    name = file.partition("_by_")[0].lower().replace("_", "-")
    return Photograph(name, split, f"lomiri-wallpapers-{release}", f"usr/share/backgrounds/{file}.jpg", author, licence)


def _mate(split: str, file: str, author: str) -> Photograph:
    # Authors and licence: debian/copyright of mate-backgrounds.
    path = f"usr/share/backgrounds/mate/nature/{file}.jpg"
    return Photograph(file.lower(), split, "mate-backgrounds", path, author, "GPL-2.0-or-later")


def _plasma(split: str, folder: str, author: str) -> Photograph:
    # Authors and licence: each wallpaper's metadata.json in plasma-workspace-wallpapers.
    path = f"usr/share/wallpapers/{folder}/contents/images/2560x1600.jpg"
    name = folder.lower().replace("_", "-")
    return Photograph(name, split, "plasma-workspace-wallpapers", path, author, "LGPL-3.0-only")


def _opencv(split: str, path: str) -> Photograph:
    # debian/copyright of opencv-doc names no author of the single samples.
    return Photograph(
        Path(path).stem.lower().replace("_", "-"),
        split,
        "opencv-doc",
        f"usr/share/doc/opencv-doc/examples/{path}",
        "OpenCV contributors",
        "Apache-2.0",
    )


def _skimage(split: str, file: str, author: str, licence: str) -> Photograph:
    # Authors and licences: docstrings of skimage.data.
    return Photograph(Path(file).stem.replace("_", "-"), split, "scikit-image", f"skimage/data/{file}", author, licence)


def _sklearn(split: str, file: str, author: str) -> Photograph:
    # Authors and licence: README.txt beside the files.
    return Photograph(Path(file).stem, split, "scikit-learn", f"sklearn/datasets/images/{file}", author, "CC-BY-2.0")


PHOTOGRAPHS = (
    _lomiri("train", "aitzgorri_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0"),
    _lomiri("train", "analogpattern_by_Peter_Nerlich", "Peter Nerlich", "CC-BY-SA-4.0"),
    _lomiri("train", "Bridge_by_Sander_Klootwijk", "Sander Klootwijk", "CC-BY-SA-4.0"),
    _lomiri("test", "Dragonfly_by_Bolly", "Bolly", "CC-BY-SA-4.0"),
    _lomiri("train", "free_by_Peter_Nerlich", "Peter Nerlich", "CC-BY-SA-4.0"),
    _lomiri("test", "friends_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0"),
    _lomiri("train", "greentock_by_Peter_Nerlich", "Peter Nerlich", "CC-BY-SA-4.0"),
    _lomiri("train", "life_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0"),
    _lomiri("test", "picosdeeuropa_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0"),
    _lomiri("test", "Picture_0B_by_freespace", "Trevor “Freespace”", "CC-BY-4.0"),
    _lomiri("train", "Picture_1A_by_freespace", "Trevor “Freespace”", "CC-BY-4.0"),
    _lomiri("val", "seeding_by_Clements_Engelhardt", "Clemens Engelhardt", "CC0-1.0"),
    _lomiri("train", "sunset_by_Aitzol_Berasategi", "Aitzol Berasategi", "CC-BY-4.0"),
    _lomiri("train", "Wine_by_Jakkub_Mede", "Jakub Mede", "CC-BY-4.0"),
    _lomiri("test", "Kleiber_by_Lukas_Baubkus", "Lukas Baubkus", "CC-BY-SA-3.0", release="20.04"),
    _mate("train", "Aqua", "Charles Barbin"),
    _mate("train", "Blinds", "Lennart Poettering, Andrea Cimitan"),
    _mate("train", "Dune", "Marco Cogoni, Hylke Bons"),
    _mate("train", "FreshFlower", "Jens Ansorg"),
    _mate("train", "Garden", "Charles Barbin"),
    _mate("val", "GreenMeadow", "Timothy Schellhase, Lapo Calamandrei"),
    _mate("test", "LadyBird", "Charles Barbin"),
    _mate("test", "RainDrops", "blackcombwhistler07"),
    _mate("train", "Storm", "Sergey Nazarov"),
    _mate("train", "TwoWings", "Charles Barbin, Hylke Bons"),
    _mate("train", "Wood", "Jean-François Fortin Tam"),
    _mate("train", "YellowFlower", "Charles Barbin"),
    _plasma("train", "FallenLeaf", "Martin Klapetek"),
    _plasma("test", "Path", "Risto Saukonpää"),
    _plasma("train", "DarkestHour", "Risto Saukonpää"),
    _plasma("train", "summer_1am", "Risto Saukonpää"),
    _plasma("val", "EveningGlow", "Ian Hex"),
    _plasma("train", "Grey", "Sigi Sagi"),
    _plasma("train", "Kite", "Risto Saukonpää"),
    _plasma("test", "ColorfulCups", "Dmitri Popov"),
    _plasma("train", "OneStandsOut", "Risto Saukonpää"),
    _plasma("train", "ColdRipple", "Risto Saukonpää"),
    _plasma("train", "BytheWater", "Maciej Wiklo"),
    _opencv("train", "data/board.jpg"),
    _opencv("train", "data/building.jpg"),
    _opencv("train", "data/butterfly.jpg"),
    _opencv("val", "data/chicky_512.png"),
    _opencv("val", "data/ela_original.jpg"),
    _opencv("train", "data/fruits.jpg"),
    _opencv("train", "data/graf1.png"),
    _opencv("test", "data/home.jpg"),
    _opencv("train", "data/leuvenA.jpg"),
    _opencv("test", "data/aloeL.jpg"),
    _opencv("train", "data/aero1.jpg"),
    _opencv("train", "data/rubberwhale1.png"),
    _opencv("test", "data/squirrel_cls.jpg"),
    _opencv("train", "data/stuff.jpg"),
    _opencv("train", "text/scenetext01.jpg"),
    _opencv("test", "text/scenetext02.jpg"),
    _opencv("train", "text/scenetext03.jpg"),
    _opencv("train", "text/scenetext04.jpg"),
    _opencv("val", "text/scenetext05.jpg"),
    _opencv("test", "text/scenetext06.jpg"),
    _opencv("train", "alphamat/input_images/plant.jpg"),
    _skimage("val", "astronaut.png", "NASA", "public domain"),
    _skimage("train", "chelsea.png", "Stefan van der Walt", "CC0-1.0"),
    _skimage("test", "coffee.png", "Rachel Michetti", "CC0-1.0"),
    _skimage("train", "rocket.jpg", "SpaceX", "public domain"),
    _sklearn("test", "china.jpg", "danielbuechele"),
    _sklearn("train", "flower.jpg", "vultilion"),
)


def fetch(folder: Path) -> list[Path]:
    """Download the packages that are not in `folder` yet, and return the folders that `Photograph.find` searches.

    Debian packages are unpacked, not installed: this needs apt-get, dpkg-deb and a network, but not root. Raises
    `SetupError` naming the package that cannot be downloaded.
    """
    packages = sorted({photograph.package for photograph in PHOTOGRAPHS} - PYTHON_PACKAGES.keys())
    folder.mkdir(parents=True, exist_ok=True)
    for package in track(packages, "downloading photographs"):
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
        reason = (
            error.stderr.decode(errors="replace").strip() if isinstance(error, subprocess.CalledProcessError) else error
        )
        raise InputDataError(
            ErrorCode.DATA_INVALID,
            f"Debian's package {package} cannot be downloaded ({reason}); unpack it under {folder / package} yourself",
        ) from error
    partial.rename(folder / package)


def _site_packages(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigurationError(ErrorCode.MISSING_EXTRA, f"{package} is missing: pip install 'susy-worker[rebuild]'")
    return Path(spec.origin).parent.parent
