"""The sample images of `susy demo`: `python -m tools.demo_weights samples --pieces DIR --out DIR`.

They are made of pieces of test photographs only, whose licence permits it (`LICENSES.md` in the samples' folder).
Photographs, networks and regions were fixed before the weights were trained, and are not chosen by their scores.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tools.demo_weights.networks import TRAINED, Generator, open_generator, rebuild
from tools.demo_weights.photographs import PHOTOGRAPHS

QUALITY = 92
ORIGINALS = {"authentic-osprey.jpg": "perched-osprey", "authentic-lake.jpg": "lake-sherburne"}
"""Sample → photograph; the piece, unchanged."""
REBUILT = {
    "rebuilt-sunset.jpg": ("beacon-street-sunset", "realcugan-se"),
    "rebuilt-otters.jpg": ("oakland-zoo-otters", "realesr-animevideov3"),
    "rebuilt-colosseum.jpg": ("roman-colosseum", "span-clearreality"),
}
"""Sample → photograph, network; the whole piece."""
CROPS = {
    "rebuilt-wren.png": ("canyon-wren", (512, 448), "style-transfer"),
    "rebuilt-flowers.jpg": ("blue-periwinkle", (512, 448), "waifu2x-photo"),
}
"""Sample → photograph, size of its middle, network."""
COMPOSITE = ("composite-skyline.jpg", "singaporean-cityscape", (448, 336, 672, 560), "span-clearreality")
"""Sample, photograph, rebuilt region (x, y, width, height), network."""
TOO_SMALL = ("too-small.png", "perched-osprey", 180)
TRUNCATED = ("truncated.jpg", "oakland-zoo-otters", 0.4)
"""Sample, photograph, share of the bytes that are kept."""


def make_samples(pieces: Path, out: Path) -> None:
    """Write all sample images into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name, photograph in ORIGINALS.items():
        shutil.copyfile(_piece(photograph, pieces), out / name)
    for name, (photograph, network) in REBUILT.items():
        rebuild(_whole(_picture(photograph, pieces)), _generator(network), random).save(out / name, quality=QUALITY)
    for name, (photograph, size, network) in CROPS.items():
        rebuild(_middle(_picture(photograph, pieces), size), _generator(network), random).save(
            out / name, quality=QUALITY
        )

    name, photograph, (x, y, width, height), network = COMPOSITE
    picture = _picture(photograph, pieces)
    picture.paste(rebuild(picture.crop((x, y, x + width, y + height)), _generator(network), random), (x, y))
    picture.save(out / name, quality=QUALITY)

    name, photograph, side = TOO_SMALL
    _middle(_picture(photograph, pieces), (side, side)).save(out / name)
    name, photograph, kept = TRUNCATED
    whole = io.BytesIO()
    _picture(photograph, pieces).save(whole, "JPEG", quality=QUALITY)
    (out / name).write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * kept)])


def _piece(name: str, pieces: Path) -> Path:
    photograph = next(photograph for photograph in PHOTOGRAPHS if photograph.name == name)
    file = pieces / photograph.split / f"{name}-0.jpg"
    if photograph.split != "test" or not file.is_file():
        raise FileNotFoundError(f"{file} is missing or is not a piece of a test photograph")
    return file


def _picture(name: str, pieces: Path) -> Image.Image:
    with Image.open(_piece(name, pieces)) as opened:
        return opened.convert("RGB")


def _whole(picture: Image.Image) -> Image.Image:
    """The picture without the few pixels that keep its sides from being multiples of 4."""
    return picture.crop((0, 0, picture.width // 4 * 4, picture.height // 4 * 4))


def _middle(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    left, top = ((side - of) // 2 for side, of in zip(picture.size, size, strict=True))
    return picture.crop((left, top, left + size[0], top + size[1]))


def _generator(name: str) -> Generator:
    return open_generator(next(network for network in TRAINED if network.name == name))
