"""The localization map: tile scores laid back onto the image.

Tiles may overlap, so the map is made of cells: the rectangles between all left, right, top and bottom
edges of tiles. A cell's score is the mean over the scored tiles that cover it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.scan import TILE, Scan


@dataclass(frozen=True, eq=False)
class Heatmap:
    """1 − p(authentic) over the image, in cells."""

    x_edges: NDArray[np.int32]
    """[columns + 1]: the cells' borders in pixels, ascending."""
    y_edges: NDArray[np.int32]
    """[rows + 1]."""
    scores: NDArray[np.float32]
    """[rows, columns], 0..1; NaN where no scored tile covers the cell."""

    def at(self, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scores at the points of the raster `ys` × `xs` (pixels), float32 [len(ys), len(xs)]; NaN outside."""
        padded = np.pad(self.scores, 1, constant_values=np.nan)
        columns = np.searchsorted(self.x_edges, xs, side="right")
        rows = np.searchsorted(self.y_edges, ys, side="right")
        return padded[np.ix_(rows, columns)]


def heatmap(scan: Scan) -> Heatmap:
    """The localization map of `scan`; without tiles it has no cells."""
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
    return Heatmap(x_edges, y_edges, scores.astype(np.float32))


def rasterize(heatmap: Heatmap, width: int, height: int, longest: int) -> NDArray[np.float32]:
    """The map as a picture of the whole image, float32 [h, w], NaN where not scored.

    It has the image's proportions and at most `longest` pixels a side. Each pixel takes the cell
    under its centre; no score is blended with its neighbour's.
    """
    scale = min(1.0, longest / max(width, height))
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    return heatmap.at(_centres(columns, width), _centres(rows, height))


def _centres(count: int, length: int) -> NDArray[np.float64]:
    return (np.arange(count) + 0.5) * length / count
