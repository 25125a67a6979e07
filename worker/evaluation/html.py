"""Reports as one HTML file each, from templates that share a base."""

from __future__ import annotations

from typing import Any

from worker.errors import ErrorCode, SetupError


def render(template_name: str, **context: Any) -> str:
    """The page of a template in `worker/evaluation/templates`; what is put in is escaped, unless it is `Markup`.

    A template extends `base.html` and fills its blocks `title`, `header` and `content`.
    Raises `SetupError` (`missing_extra`) without Jinja.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise SetupError(
            ErrorCode.MISSING_EXTRA, "reports need Jinja and matplotlib: pip install 'susy-worker[evaluate]'"
        ) from error
    environment = Environment(
        loader=PackageLoader("worker.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f} %"
    return environment.get_template(template_name).render(**context)
