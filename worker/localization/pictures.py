"""The heat map as a picture, alone or over its image."""

from __future__ import annotations

import io
import zlib

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from schema.scan import Scan
from schema.verdict import Region
from worker.localization.heatmap import Heatmap, cells_of_pixels, heatmap

MAP_LONGEST = 512
"""Longest side of the stored map in pixels. Cells are far coarser than that."""
OVERLAY_LONGEST = 1600
"""Longest side of an overlay in pixels."""

# Score 0 → 1 as colour and opacity, linear between two stops: transparent where authentic, red where synthetic.
_STOPS = np.array([0.0, 0.5, 1.0])
_COLOURS = np.array([[255, 237, 160, 0], [253, 141, 60, 110], [189, 0, 38, 170]], np.float64)
_UNSCORED = (120, 120, 120, 60)
_REGION_OUTLINE = (189, 0, 38)
_FAST = {"compress_level": 1, "compress_type": zlib.Z_HUFFMAN_ONLY}
"""How overlays are compressed: photographs hardly repeat themselves. All that zlib can do takes twenty times as long,
for a file that is a tenth smaller."""

_UNIFORM = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""How maps are compressed: a few uniform cells, of which each row of pixels repeats the one above. All that zlib can do
takes 2 to 17 times as long, for a file that is up to 130 bytes smaller, or larger where there are many cells."""


def map_png(heat: Heatmap) -> bytes | None:
    """The map as PNG (gray + alpha): gray = 255 × (1 − p(authentic)), transparent where not scored.

    It has the image's proportions and at most 512 px per side. None for an image without tiles.
    """
    if not heat.scores.size:
        return None
    cells = np.pad(heat.scores, 1, constant_values=np.nan)  # the image outside the cells, if any
    scored = np.isfinite(cells)
    gray = np.where(scored, np.round(np.nan_to_num(cells) * 255), 0)
    rows, columns = cells_of_pixels(heat, MAP_LONGEST)
    # Both bytes of a pixel are moved at once, as one number.
    pairs = np.dstack([gray, scored * 255]).astype(np.uint8).view(np.uint16)[..., 0]
    pixels = pairs[:, columns][rows].view(np.uint8)
    buffer = io.BytesIO()
    PIL.Image.frombuffer("LA", (len(columns), len(rows)), pixels, "raw", "LA", 0, 1).save(buffer, "PNG", **_UNIFORM)
    return buffer.getvalue()


def overlay(pixels: NDArray[np.uint8], scan: Scan, regions: tuple[Region, ...]) -> PIL.Image.Image:
    """The image (uint8 [H, W, 3]), at most 1600 px per side, under its map, with the regions outlined.

    Tiles that were not scored are tinted gray, so that they are not taken for authentic ones.
    """
    picture = PIL.Image.fromarray(pixels)
    picture.thumbnail((OVERLAY_LONGEST, OVERLAY_LONGEST), reducing_gap=1.0)  # pixels are averaged before the filter
    if not len(scan.corners):
        return picture
    tint = PIL.Image.fromarray(_tint(heatmap(scan)), "RGBA").resize(picture.size, PIL.Image.Resampling.NEAREST)
    picture.paste(tint, mask=tint.getchannel("A"))

    pen = PIL.ImageDraw.Draw(picture)
    scale = picture.width / scan.width
    for region in regions:
        for ring in region.polygon or _rectangle(region):
            # A point lies on the corner of a pixel; the line is drawn inside the image.
            points = [
                (min(round(x * scale), picture.width - 1), min(round(y * scale), picture.height - 1)) for x, y in ring
            ]
            pen.line(points, fill=_REGION_OUTLINE, width=3)
    return picture


def overlay_png(pixels: NDArray[np.uint8], scan: Scan, regions: tuple[Region, ...]) -> bytes:
    """`overlay` as a PNG file."""
    buffer = io.BytesIO()
    overlay(pixels, scan, regions).save(buffer, "PNG", **_FAST)
    return buffer.getvalue()


def _tint(heat: Heatmap) -> NDArray[np.uint8]:
    """Colour and opacity, uint8 [h, w, 4], at most as large as an overlay."""
    cells = np.pad(heat.scores, 1, constant_values=np.nan)
    colours = np.stack([np.interp(cells, _STOPS, channel) for channel in _COLOURS.T], axis=-1)
    colours[~np.isfinite(cells)] = _UNSCORED
    rows, columns = cells_of_pixels(heat, OVERLAY_LONGEST)
    return colours.astype(np.uint8)[rows][:, columns]


def _rectangle(region: Region) -> tuple[tuple[tuple[int, int], ...], ...]:
    left, top, right, bottom = region.x, region.y, region.x + region.width, region.y + region.height
    return (((left, top), (right, top), (right, bottom), (left, bottom), (left, top)),)
