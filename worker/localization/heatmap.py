"""The heat map: tile scores laid back onto the image.

Tiles may overlap, so the map consists of cells: the rectangles between all left, right, top and bottom edges of tiles.
A cell's score is the mean over the scored tiles that cover it. Of a sampled map, a cell that no scored tile covers has
the score of the nearest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.scan import TILE, MapGrid, Scan

_UNITS = 1 << 24
"""Every float16 from 0 to 1 is a multiple of 1 / 2²⁴, so that sums of probabilities in these units are exact."""


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Class probabilities and 1 − p(authentic) over an image, in cells."""

    width: int
    height: int
    """Size of the image in pixels."""
    x_edges: NDArray[np.int32]
    """[columns + 1]: the cells' borders in pixels, ascending; empty for an image without tiles."""
    y_edges: NDArray[np.int32]
    """[rows + 1]."""
    scores: NDArray[np.float32]
    """[rows, columns], 0..1; NaN where no scored tile covers the cell."""
    probabilities: NDArray[np.float32]
    """[rows, columns, C]: mean probability of each class; NaN where no scored tile covers the cell."""
    classes: tuple[str, ...]
    """The C classes, the authentic one first."""
    sampled: bool = False
    """Whether cells without a scored tile were given the score of the nearest one."""


def heatmap(scan: Scan) -> Heatmap:
    """The heat map of `scan`; it has no cells when the scan has no tiles."""
    x_edges = np.unique(np.concatenate([scan.corners[:, 0], scan.corners[:, 0] + TILE]))
    y_edges = np.unique(np.concatenate([scan.corners[:, 1], scan.corners[:, 1] + TILE]))
    rows, columns, classes = max(len(y_edges) - 1, 0), max(len(x_edges) - 1, 0), len(scan.model.classes)

    corners = scan.corners[scan.scored]
    left, right = np.searchsorted(x_edges, [corners[:, 0], corners[:, 0] + TILE])
    top, bottom = np.searchsorted(y_edges, [corners[:, 1], corners[:, 1] + TILE])
    tiles = np.ones((len(corners), classes + 1), np.int64)  # the last counts tiles
    tiles[:, :-1] = scan.probabilities[scan.scored].astype(np.float64) * _UNITS
    # A tile adds its value to a rectangle of cells: written as four corners, whose running sums are the rectangle.
    sums = np.zeros((rows + 1, columns + 1, classes + 1), np.int64)
    np.add.at(sums, (top, left), tiles)
    np.add.at(sums, (bottom, right), tiles)
    np.subtract.at(sums, (top, right), tiles)
    np.subtract.at(sums, (bottom, left), tiles)
    cells = sums.cumsum(axis=0).cumsum(axis=1)[:rows, :columns]

    units = np.where(cells[..., -1:] > 0, cells[..., -1:] * float(_UNITS), np.nan)
    probabilities = (cells[..., :-1] / units).astype(np.float32)
    scores = ((units[..., 0] - cells[..., 0]) / units[..., 0]).astype(np.float32)
    if scan.map_sampled:
        _fill(scores, probabilities, x_edges, y_edges, scan)
    return Heatmap(
        scan.width, scan.height, x_edges, y_edges, scores, probabilities, scan.model.classes, scan.map_sampled
    )


def _fill(
    scores: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    x_edges: NDArray[np.int32],
    y_edges: NDArray[np.int32],
    scan: Scan,
) -> None:
    """Give each cell without a score, in place, that of the scored tile whose centre is nearest to the cell's."""
    centres = scan.corners[scan.scored] + TILE / 2
    found, distributions = scan.synthetic[scan.scored], scan.probabilities[scan.scored]
    across = (((x_edges[:-1] + x_edges[1:]) / 2)[:, None] - centres[:, 0]) ** 2  # [columns, scored tiles]
    for row, y in enumerate((y_edges[:-1] + y_edges[1:]) / 2):
        empty = np.isnan(scores[row])
        nearest = (across[empty] + (y - centres[:, 1]) ** 2).argmin(axis=1)
        scores[row, empty] = found[nearest]
        probabilities[row, empty] = distributions[nearest]


def rasterize(heat: Heatmap, longest: int) -> NDArray[np.float32]:
    """The map as pixels, float32 [h, w], 0..1, NaN where not scored.

    It has the image's proportions and at most `longest` pixels per side, never more than the image. Each pixel takes
    the score of the cell under its centre; scores of neighbouring cells are not blended.
    """
    padded = np.pad(heat.scores, 1, constant_values=np.nan)  # the image outside the cells, if any
    return padded[np.ix_(*cells_of_pixels(heat, longest))]


def cells_of_pixels(heat: Heatmap, longest: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each row and each column of pixels of `rasterize` the row or column of cells, counted from 1; 0 or one more
    than there are for pixels outside all cells."""
    scale = min(1.0, longest / max(heat.width, heat.height))
    columns, rows = max(1, round(heat.width * scale)), max(1, round(heat.height * scale))
    return (
        np.searchsorted(heat.y_edges, _centres(rows, heat.height), side="right"),
        np.searchsorted(heat.x_edges, _centres(columns, heat.width), side="right"),
    )


def map_grid(heat: Heatmap) -> MapGrid | None:
    """The map as numbers, as the ledger stores it; None for an image without tiles."""
    return MapGrid(heat.x_edges, heat.y_edges, heat.scores) if heat.scores.size else None


def grid_document(heat: Heatmap) -> dict[str, Any]:
    """The map as JSON for a front end: edges in pixels, one list of scores per row, null where nothing was scored."""
    rows = [[None if value != value else round(value, 4) for value in row] for row in heat.scores.tolist()]  # noqa: PLR0124
    return {
        "width": heat.width,
        "height": heat.height,
        "x_edges": heat.x_edges.tolist(),
        "y_edges": heat.y_edges.tolist(),
        "scores": rows,
        "sampled": heat.sampled,
    }


def _centres(count: int, length: int) -> NDArray[np.float64]:
    return (np.arange(count) + 0.5) * length / count
