"""Figures for reports: one look, drawn without a window, inlined into the page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from worker.lab.evaluation.html import require_extra

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

AUTHENTIC_COLOUR = "#2e7d32"
SYNTHETIC_COLOUR = "#bd0026"
COLOURS = ("#2e7d32", "#bd0026", "#1f78b4", "#ff7f00", "#6a3d9a", "#b15928", "#17a2b8", "#e377c2", "#7f7f7f", "#bcbd22")
"""By class index; the authentic class is green."""

_LARGEST_SVG = 200_000
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "font.size": 10,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "susy-worker",
}


def new_figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """An empty figure of `width` × `height` inches; add axes with `figure.subplots()`.

    Raises `ConfigurationError` (`missing_extra`) without matplotlib.
    """
    require_extra()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update(_STYLE)  # type: ignore[arg-type] # figures take their look when axes are added
    return Figure(figsize=(width, height), layout="constrained")  # no pyplot: no window, no global list of figures


def svg_or_png(figure: Figure, alt: str = "") -> Markup:
    """The figure as an `<img>` that holds its own picture: SVG, or PNG when the SVG would be large."""
    from markupsafe import Markup

    kind, content = "svg+xml", _drawn(figure, "svg")
    if len(content) > _LARGEST_SVG:
        kind, content = "png", _drawn(figure, "png")
    data = base64.b64encode(content).decode()
    width = round(float(figure.get_figwidth()) * 96)
    return Markup('<img class="plot" alt="{}" width="{}" src="data:image/{};base64,{}">').format(alt, width, kind, data)


def _drawn(figure: Figure, form: str) -> bytes:
    buffer = io.BytesIO()
    # Without a date, the same figures give the same page.
    figure.savefig(buffer, format=form, dpi=140, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()
