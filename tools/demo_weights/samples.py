"""The sample images of `susy demo`: `python -m tools.demo_weights samples --photographs DIR --out DIR`.

They are made from held-out photographs only, whose licences permit it (`LICENSES.md` in the samples' folder).
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from tools.demo_weights.build import build
from tools.demo_weights.networks import TRAINED, Enlarger, rebuild
from tools.demo_weights.photographs import PHOTOGRAPHS

QUALITY = 92
ORIGINALS = {"authentic-dragonfly.jpg": "dragonfly", "authentic-fig.jpg": "picture-0b"}
"""Sample → photograph, copied unchanged."""
REBUILT = {
    "rebuilt-dogs.jpg": ("friends", (1024, 1536), "realesrgan-x4plus-anime"),
    "rebuilt-mountains.jpg": ("picosdeeuropa", (1600, 1200), "realcugan-se"),
    "rebuilt-nuthatch.jpg": ("kleiber", (1600, 896), "realesr-animevideov3"),
}
"""Sample → photograph, size in pixels, network."""
CROPS = {
    "rebuilt-dragonfly-1.jpg": ("realesrgan-x4plus-anime", "dragonfly", 0),
    "rebuilt-dragonfly-2.png": ("realcugan-se", "dragonfly", 0),
}
"""Sample → network, photograph and number of the crop: images of the test split."""
COMPOSITE = ("composite-dragonfly.jpg", "dragonfly", (2112, 1584), (896, 448, 672, 672), "realcugan-se")
"""Sample, photograph, size, rebuilt region (x, y, width, height), network."""
TOO_SMALL = ("too-small.png", "picture-0b", 180)
TRUNCATED = ("truncated.jpg", "friends", (1028, 1544), 0.4)
"""Sample, photograph, size, share of the bytes that are kept."""


def make_samples(roots: Sequence[Path], out: Path) -> None:
    """Write all sample images into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name, photograph in ORIGINALS.items():
        shutil.copyfile(_file(photograph, roots), out / name)
    for name, (photograph, size, network) in REBUILT.items():
        picture = _picture(photograph, roots, size)
        rebuild(picture, _enlarger(network), random).save(out / name, quality=QUALITY)

    with TemporaryDirectory() as folder:
        shown = [photograph for photograph in PHOTOGRAPHS if photograph.name in {name for _, name, _ in CROPS.values()}]
        build(roots, Path(folder), photographs=shown)
        for name, (network, photograph, number) in CROPS.items():
            (image,) = (Path(folder) / network / "test").glob(f"{photograph}-{number:02}.*")
            shutil.copyfile(image, out / name)

    name, photograph, size, (x, y, width, height), network = COMPOSITE
    picture = _picture(photograph, roots, size)
    region = picture.crop((x, y, x + width, y + height))
    picture.paste(rebuild(region, _enlarger(network), random), (x, y))
    picture.save(out / name, quality=QUALITY)

    name, photograph, side = TOO_SMALL
    _picture(photograph, roots, (side, side)).save(out / name)
    name, photograph, size, kept = TRUNCATED
    whole = io.BytesIO()
    _picture(photograph, roots, size).save(whole, "JPEG", quality=QUALITY)
    (out / name).write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * kept)])


def _file(name: str, roots: Sequence[Path]) -> Path:
    photograph = next(photograph for photograph in PHOTOGRAPHS if photograph.name == name)
    file = photograph.find(roots)
    if file is None or photograph.split != "test":
        raise FileNotFoundError(f"{photograph.package}:{photograph.path} is missing or is not a held-out photograph")
    return file


def _picture(name: str, roots: Sequence[Path], size: tuple[int, int]) -> Image.Image:
    with Image.open(_file(name, roots)) as opened:
        return opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _enlarger(name: str) -> Enlarger:
    return Enlarger(next(network for network in TRAINED if network.name == name))
