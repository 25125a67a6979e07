"""Where on the image the map is high."""

from __future__ import annotations

from skimage.measure import label, regionprops

from schema.verdict import Region
from worker.localization.heatmap import Heatmap


def find_regions(heatmap: Heatmap, at: float) -> tuple[Region, ...]:
    """Bounding rectangles, in image pixels, of connected cells whose score is at least `at`.

    Strongest first. Cells that were not scored belong to no region.
    """
    high = heatmap.scores >= at  # NaN compares false
    if not high.any():
        return ()
    found = []
    for part in regionprops(label(high, connectivity=1), intensity_image=heatmap.scores):
        top, left, bottom, right = part.bbox
        x0, x1 = heatmap.x_edges[[left, right]].tolist()
        y0, y1 = heatmap.y_edges[[top, bottom]].tolist()
        found.append(Region(x0, y0, x1 - x0, y1 - y0, round(float(part.intensity_max), 4)))
    return tuple(sorted(found, key=lambda region: -region.score))
