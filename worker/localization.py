"""Localization: where on an image the tiles look synthetic. The heat map, its regions, and both as pictures.

Tiles may overlap, so the map consists of cells: the rectangles between all left, right, top and bottom edges of tiles.
A cell's score is the mean over the scored tiles that cover it. Of a sampled map, a cell that no scored tile covers has
the score of the nearest one.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from schema.scan import TILE, Scan
from schema.verdict import Region

MAP_LONGEST = 512
"""Longest side of the stored map in pixels. Cells are far coarser than that."""
OVERLAY_LONGEST = 1600
"""Longest side of an overlay in pixels."""

# Score 0 → 1 as colour and opacity, linear between two stops: transparent where authentic, red where synthetic.
_STOPS = np.array([0.0, 0.5, 1.0])
_COLOURS = np.array([[255, 237, 160, 0], [253, 141, 60, 110], [189, 0, 38, 170]], np.float64)
_UNSCORED = (120, 120, 120, 60)
_REGION_OUTLINE = (189, 0, 38)


@dataclass(frozen=True, eq=False)
class Heatmap:
    """1 − p(authentic) over an image, in cells."""

    width: int
    height: int
    """Size of the image in pixels."""
    x_edges: NDArray[np.int32]
    """[columns + 1]: the cells' borders in pixels, ascending; empty for an image without tiles."""
    y_edges: NDArray[np.int32]
    """[rows + 1]."""
    scores: NDArray[np.float32]
    """[rows, columns], 0..1; NaN where no scored tile covers the cell."""


def heatmap(scan: Scan) -> Heatmap:
    """The heat map of `scan`; it has no cells when the scan has no tiles."""
    x_edges = np.unique(np.concatenate([scan.corners[:, 0], scan.corners[:, 0] + TILE]))
    y_edges = np.unique(np.concatenate([scan.corners[:, 1], scan.corners[:, 1] + TILE]))
    shape = max(len(y_edges) - 1, 0), max(len(x_edges) - 1, 0)
    total, covering = np.zeros(shape, np.float64), np.zeros(shape, np.int32)

    columns = np.searchsorted(x_edges, [scan.corners[:, 0], scan.corners[:, 0] + TILE]).T
    rows = np.searchsorted(y_edges, [scan.corners[:, 1], scan.corners[:, 1] + TILE]).T
    for score, (left, right), (top, bottom), scored in zip(scan.synthetic, columns, rows, scan.scored, strict=True):
        if scored:
            total[top:bottom, left:right] += score
            covering[top:bottom, left:right] += 1
    scores = np.full(shape, np.nan)
    np.divide(total, covering, out=scores, where=covering > 0)
    if scan.map_sampled:
        _fill(scores, x_edges, y_edges, scan)
    return Heatmap(scan.width, scan.height, x_edges, y_edges, scores.astype(np.float32))


def _fill(scores: NDArray[np.float64], x_edges: NDArray[np.int32], y_edges: NDArray[np.int32], scan: Scan) -> None:
    """Give each cell without a score, in place, that of the scored tile whose centre is nearest to the cell's."""
    centres = scan.corners[scan.scored] + TILE / 2
    found = scan.synthetic[scan.scored]
    across = (((x_edges[:-1] + x_edges[1:]) / 2)[:, None] - centres[:, 0]) ** 2  # [columns, scored tiles]
    for row, y in enumerate((y_edges[:-1] + y_edges[1:]) / 2):
        empty = np.isnan(scores[row])
        nearest = (across[empty] + (y - centres[:, 1]) ** 2).argmin(axis=1)
        scores[row, empty] = found[nearest]


def find_regions(heat: Heatmap, at: float) -> tuple[Region, ...]:
    """Bounding rectangles, in image pixels, of the parts of the map that reach `at`, highest score first and of equal
    ones the largest.

    A part extends to where its score falls to half-way between the map's median and its maximum (hysteresis, as in
    Canny's edges): the mean over overlapping tiles falls gradually across a region's border, and `at` cuts off all but
    its middle. Where that level is not below `at`, as on an image that is synthetic all over, a part ends at `at`.
    Cells that were not scored belong to no region.
    """
    if not (heat.scores >= at).any():  # NaN compares false
        return ()
    median = float(np.nanmedian(rasterize(heat, MAP_LONGEST)))
    parts = label(heat.scores >= min(at, (median + float(np.nanmax(heat.scores))) / 2), connectivity=1)
    found = []
    for part in regionprops(parts, intensity_image=heat.scores):
        if part.intensity_max < at:
            continue
        top, left, bottom, right = part.bbox
        x0, x1 = heat.x_edges[[left, right]].tolist()
        y0, y1 = heat.y_edges[[top, bottom]].tolist()
        found.append(Region(x0, y0, x1 - x0, y1 - y0, round(float(part.intensity_max), 4)))
    return tuple(sorted(found, key=lambda region: (-region.score, -region.width * region.height)))


def region_overlap(regions: Sequence[Region], box: tuple[int, int, int, int]) -> float:
    """Intersection over union, 0..1, of the first of `regions` and `box` (x, y, width, height); 0 without regions."""
    if not regions:
        return 0.0
    found, (x, y, width, height) = regions[0], box
    across = min(found.x + found.width, x + width) - max(found.x, x)
    down = min(found.y + found.height, y + height) - max(found.y, y)
    both = max(0, across) * max(0, down)
    return both / (found.width * found.height + width * height - both)


def overlap(heat: Heatmap, box: tuple[int, int, int, int], at: float) -> float:
    """Intersection over union, 0..1, of the cells whose score is at least `at` and `box` (x, y, width, height, in image
    pixels)."""
    found = rasterize(heat, max(heat.width, heat.height)) >= at  # NaN compares false
    x, y, width, height = box
    true = np.zeros_like(found)
    true[y : y + height, x : x + width] = True
    return float((found & true).sum() / (found | true).sum())


def rasterize(heat: Heatmap, longest: int) -> NDArray[np.float32]:
    """The map as pixels, float32 [h, w], 0..1, NaN where not scored.

    It has the image's proportions and at most `longest` pixels per side, never more than the image. Each pixel takes
    the score of the cell under its centre; scores of neighbouring cells are not blended.
    """
    scale = min(1.0, longest / max(heat.width, heat.height))
    columns, rows = max(1, round(heat.width * scale)), max(1, round(heat.height * scale))
    padded = np.pad(heat.scores, 1, constant_values=np.nan)  # the image outside the cells, if any
    x_cells = np.searchsorted(heat.x_edges, _centres(columns, heat.width), side="right")
    y_cells = np.searchsorted(heat.y_edges, _centres(rows, heat.height), side="right")
    return padded[np.ix_(y_cells, x_cells)]


def map_png(heat: Heatmap) -> bytes | None:
    """The map as PNG (gray + alpha): gray = 255 × (1 − p(authentic)), transparent where not scored.

    It has the image's proportions and at most 512 px per side. None for an image without tiles.
    """
    if not heat.scores.size:
        return None
    scores = rasterize(heat, MAP_LONGEST)
    scored = np.isfinite(scores)
    gray = np.where(scored, np.round(np.nan_to_num(scores) * 255), 0).astype(np.uint8)
    return _png(PIL.Image.fromarray(np.dstack([gray, scored.astype(np.uint8) * 255]), "LA"))


def overlay(pixels: NDArray[np.uint8], scan: Scan, regions: tuple[Region, ...]) -> PIL.Image.Image:
    """The image (uint8 [H, W, 3]), at most 1600 px per side, under its map, with the regions outlined.

    Tiles that were not scored are tinted gray, so that they are not taken for authentic ones.
    """
    picture = PIL.Image.fromarray(pixels)
    picture.thumbnail((OVERLAY_LONGEST, OVERLAY_LONGEST))
    if not len(scan.corners):
        return picture
    scores = rasterize(heatmap(scan), OVERLAY_LONGEST)
    colours = np.stack([np.interp(scores, _STOPS, channel) for channel in _COLOURS.T], axis=-1)
    colours[~np.isfinite(scores)] = _UNSCORED
    tint = PIL.Image.fromarray(colours.astype(np.uint8), "RGBA").resize(picture.size, PIL.Image.Resampling.NEAREST)
    drawn = PIL.Image.alpha_composite(picture.convert("RGBA"), tint).convert("RGB")

    pen = PIL.ImageDraw.Draw(drawn)
    scale = drawn.width / scan.width
    for region in regions:
        corners = (region.x, region.y, region.x + region.width - 1, region.y + region.height - 1)
        pen.rectangle([round(c * scale) for c in corners], outline=_REGION_OUTLINE, width=3)
    return drawn


def overlay_png(pixels: NDArray[np.uint8], scan: Scan, regions: tuple[Region, ...]) -> bytes:
    """`overlay` as a PNG file."""
    return _png(overlay(pixels, scan, regions))


def _centres(count: int, length: int) -> NDArray[np.float64]:
    return (np.arange(count) + 0.5) * length / count


def _png(picture: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
