"""Reports as one HTML file each: templates that share a base, and plots as images within the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.errors import ConfigurationError, ErrorCode
from worker.extras import require_extra

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

AUTHENTIC_COLOUR = "#2e7d32"
SYNTHETIC_COLOUR = "#bd0026"
COLOURS = ("#2e7d32", "#bd0026", "#1f78b4", "#ff7f00", "#6a3d9a", "#b15928", "#17a2b8", "#e377c2", "#7f7f7f", "#bcbd22")
"""By class index; the authentic class is green."""

_LARGEST_SVG = 200_000  # bytes
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
    "text.parse_math": False,  # a class name with $ is not a formula
    "svg.hashsalt": "susy-worker",
}


def require_folder(folder: Path) -> Path:
    """`folder`, created if it does not exist: called before hours of scoring, not after them.

    Raises `ConfigurationError` (`settings`) when it cannot be a folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            ErrorCode.SETTINGS, f"{folder} cannot be a folder for results ({error.strerror}); choose another --out"
        ) from error
    return folder


def render(template_name: str, **context: Any) -> str:
    """The page of a template in `worker/lab/evaluation/templates`. All values are escaped, except `Markup`.

    A template extends `base.html` and fills its blocks `title`, `header` and `content`.
    Raises `ConfigurationError` (`missing_extra`) without Jinja.
    """
    require_extra("evaluate", what="a report")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template_name).render(**context)


def new_figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """An empty figure of `width` × `height` inches; add axes with `figure.subplots()`.

    Raises `ConfigurationError` (`missing_extra`) without matplotlib.
    """
    require_extra("evaluate", what="a figure")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update(_STYLE)  # type: ignore[arg-type] # read when axes are added
    return Figure(figsize=(width, height), layout="constrained")  # no pyplot: no window, no global list of figures


def image_tag(figure: Figure, alt: str = "") -> Markup:
    """The figure as an `<img>` with its content: SVG, or PNG when the SVG would be large."""
    from markupsafe import Markup

    kind, content = "svg+xml", _draw(figure, "svg")
    if len(content) > _LARGEST_SVG:
        kind, content = "png", _draw(figure, "png")
    data = base64.b64encode(content).decode()
    width = round(float(figure.get_figwidth()) * 96)
    return Markup('<img class="plot" alt="{}" width="{}" src="data:image/{};base64,{}">').format(alt, width, kind, data)


def _draw(figure: Figure, form: str) -> bytes:
    buffer = io.BytesIO()
    # Without a date, the same figures give the same page.
    figure.savefig(buffer, format=form, dpi=140, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()
