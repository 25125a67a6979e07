"""Reports as one HTML file each, from templates that share a base."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from worker.errors import ConfigurationError, ErrorCode


def require_extra() -> None:
    """Raises `ConfigurationError` (`missing_extra`) unless what computes and draws figures is installed."""
    missing = [name for name in ("sklearn", "scipy", "matplotlib", "jinja2") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            ErrorCode.MISSING_EXTRA,
            f"evaluation and its reports need {', '.join(missing)}: pip install 'susy-worker[evaluate]'",
        )


def render(template_name: str, **context: Any) -> str:
    """The page of a template in `worker/lab/evaluation/templates`; what is put in is escaped, unless it is `Markup`.

    A template extends `base.html` and fills its blocks `title`, `header` and `content`.
    Raises `ConfigurationError` (`missing_extra`) without Jinja.
    """
    require_extra()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("worker.lab.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template_name).render(**context)
