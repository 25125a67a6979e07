"""Maps as pictures: the stored PNG, and the overlay drawn on the image."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from schema.scan import Scan
from schema.verdict import Region
from worker.localization.heatmap import heatmap, rasterize

MAP_LONGEST = 512
"""Longest side of the stored map in pixels; cells are far coarser than that."""
OVERLAY_LONGEST = 1600

# Score 0 → 1 as colour and opacity; between two stops, linear. Clear where authentic, red where not.
_STOPS = np.array([0.0, 0.5, 1.0])
_COLOURS = np.array([[255, 237, 160, 0], [253, 141, 60, 110], [189, 0, 38, 170]], np.float64)
_UNSCORED = (120, 120, 120, 60)
_REGION_OUTLINE = (189, 0, 38)


def map_png(scan: Scan) -> bytes | None:
    """The map as PNG (gray + alpha): gray = 255 × (1 − p(authentic)), transparent where not scored.

    It has the image's proportions, at most 512 px a side. None for an image without tiles.
    """
    if not len(scan.corners):
        return None
    scores = rasterize(heatmap(scan), scan.width, scan.height, MAP_LONGEST)
    scored = np.isfinite(scores)
    gray = np.where(scored, np.round(np.nan_to_num(scores) * 255), 0).astype(np.uint8)
    return _png(PIL.Image.fromarray(np.dstack([gray, scored.astype(np.uint8) * 255]), "LA"))


def overlay(pixels: NDArray[np.uint8], scan: Scan, regions: tuple[Region, ...]) -> PIL.Image.Image:
    """The image (uint8 [H, W, 3], at most 1600 px a side) under its map, with the regions outlined.

    Unscored tiles are veiled in gray, so that nobody reads them as authentic.
    """
    picture = PIL.Image.fromarray(pixels)
    picture.thumbnail((OVERLAY_LONGEST, OVERLAY_LONGEST))
    if not len(scan.corners):
        return picture
    scores = rasterize(heatmap(scan), scan.width, scan.height, OVERLAY_LONGEST)
    colours = np.stack([np.interp(scores, _STOPS, channel) for channel in _COLOURS.T], axis=-1)
    colours[~np.isfinite(scores)] = _UNSCORED
    veil = PIL.Image.fromarray(colours.astype(np.uint8), "RGBA").resize(picture.size, PIL.Image.Resampling.NEAREST)
    drawn = PIL.Image.alpha_composite(picture.convert("RGBA"), veil).convert("RGB")

    pen = PIL.ImageDraw.Draw(drawn)
    scale = drawn.width / scan.width
    for region in regions:
        corners = (region.x, region.y, region.x + region.width - 1, region.y + region.height - 1)
        pen.rectangle([round(c * scale) for c in corners], outline=_REGION_OUTLINE, width=3)
    return drawn


def overlay_png(pixels: NDArray[np.uint8], scan: Scan, regions: tuple[Region, ...]) -> bytes:
    """`overlay` as a PNG file."""
    return _png(overlay(pixels, scan, regions))


def _png(picture: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
