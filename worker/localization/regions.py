"""Regions: the parts of a heat map that look synthetic, with their outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from schema.verdict import Polygon, Region
from worker.localization.generators import leading_generator
from worker.localization.heatmap import Heatmap, cells_of_pixels

MEDIAN_LONGEST = 512
"""Longest side, in pixels, of the picture of the map whose median is taken: each cell counts by its area."""


def find_regions(heat: Heatmap, at: float, generator_share: float = 0.5) -> tuple[Region, ...]:
    """The parts of the map that reach `at`, highest score first and of equal ones the largest, in image pixels.

    A part extends to where its score falls to half-way between the map's median and its maximum (hysteresis, as in
    Canny's edges): the mean over overlapping tiles falls gradually across a region's border, and `at` cuts off all but
    its middle. Where that level is not below `at`, as on an image that is synthetic all over, a part ends at `at`.
    Cells that were not scored belong to no region. A generator is named when it holds `generator_share` of the
    synthetic probability of the region.
    """
    if not (heat.scores >= at).any():  # NaN compares false
        return ()
    # The maximum is not NaN here; the median is, where every cell with a score is narrower than a pixel.
    level = (_median(heat) + float(np.nanmax(heat.scores))) / 2
    parts, _ = label(heat.scores >= min(at, level))
    areas = np.outer(np.diff(heat.y_edges), np.diff(heat.x_edges)).astype(np.float64)
    found = []
    for number, (rows, columns) in enumerate(find_objects(parts), 1):
        cells = parts[rows, columns] == number
        score = float(heat.scores[rows, columns][cells].max())
        if score >= at:
            found.append(_region(heat, rows, columns, cells, areas[rows, columns][cells], score, generator_share))
    return tuple(sorted(found, key=lambda region: (-region.score, -region.width * region.height)))


def _median(heat: Heatmap) -> float:
    """The median score of the picture of the map, of which each cell is so many pixels; NaN without a pixel."""
    rows, columns = cells_of_pixels(heat, MEDIAN_LONGEST)
    down = np.bincount(rows, minlength=len(heat.y_edges) + 1)[1:-1]
    across = np.bincount(columns, minlength=len(heat.x_edges) + 1)[1:-1]
    scored = np.isfinite(heat.scores)
    scores, pixels = heat.scores[scored], np.outer(down, across)[scored]
    order = scores.argsort()
    ends = pixels[order].cumsum()
    count = int(ends[-1])
    if count == 0:
        return float("nan")
    middle = scores[order][ends.searchsorted([(count - 1) // 2, count // 2], side="right")]
    return float(middle.mean())


def _region(
    heat: Heatmap,
    rows: slice,
    columns: slice,
    cells: NDArray[np.bool_],
    weights: NDArray[np.float64],
    score: float,
    generator_share: float,
) -> Region:
    """The region of `cells` (bool [rows, columns]) within these rows and columns; `weights` are their areas."""
    x_edges, y_edges = heat.x_edges[columns.start : columns.stop + 1], heat.y_edges[rows.start : rows.stop + 1]
    mean = weights @ heat.probabilities[rows, columns][cells].astype(np.float64) / weights.sum()
    x0, y0 = int(x_edges[0]), int(y_edges[0])
    return Region(
        x=x0,
        y=y0,
        width=int(x_edges[-1]) - x0,
        height=int(y_edges[-1]) - y0,
        score=round(score, 4),
        mean_score=round(1 - float(mean[0]), 4),
        area=round(float(weights.sum()) / (heat.width * heat.height), 6),
        generator=leading_generator(mean, heat.classes, generator_share)[0],
        polygon=outline(cells, x_edges, y_edges),
    )


def outline(cells: NDArray[np.bool_], x_edges: NDArray[np.int32], y_edges: NDArray[np.int32]) -> Polygon:
    """The outline of connected `cells` (bool [rows, columns]) whose borders are the edges: as the coordinates of a
    polygon in GeoJSON, the exterior ring first, then the holes, each ending where it begins.

    No ring meets itself: where two cells of the part touch at a corner only, the rings of holes touch there.
    """
    if cells.all():  # most parts are rectangles
        left, top, right, bottom = int(x_edges[0]), int(y_edges[0]), int(x_edges[-1]), int(y_edges[-1])
        return (((left, top), (right, top), (right, bottom), (left, bottom), (left, top)),)
    ahead = _border(cells)
    rings = []
    while ahead:
        start = min(ahead)  # the topmost corner, and of these the leftmost, which is one of the exterior ring
        ring: list[tuple[int, int]] = []
        place, step = start, (0, 1)
        while not ring or place != start:
            row, column = step
            # Of two ways to the left: the part lies on the right, so that the ring does not cut it at this corner.
            ways = [way for way in ((-column, row), step, (column, -row)) if way in ahead[place]]
            if ways[0] != step or not ring:
                ring.append((int(x_edges[place[1]]), int(y_edges[place[0]])))
            ahead[place].remove(ways[0])
            if not ahead[place]:
                del ahead[place]
            step = ways[0]
            place = place[0] + step[0], place[1] + step[1]
        rings.append((*ring, ring[0]))
    return tuple(rings)


def _border(cells: NDArray[np.bool_]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """For each corner (row, column) on the border the steps that follow the border with the cells on the right."""
    padded = np.pad(cells, 1)
    inside = padded[1:-1, 1:-1]
    ahead: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for outside, corner, step in (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),
        (padded[1:-1, 2:], (0, 1), (1, 0)),
        (padded[2:, 1:-1], (1, 1), (0, -1)),
        (padded[1:-1, :-2], (1, 0), (-1, 0)),
    ):
        for row, column in np.argwhere(inside & ~outside).tolist():
            ahead.setdefault((row + corner[0], column + corner[1]), []).append(step)
    return ahead
