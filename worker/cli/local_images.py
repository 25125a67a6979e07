"""Images that a command examines in its own process: which files a path names, how they are read, by which weights."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from worker.cli.output import notes
from worker.errors import ErrorCode, PermanentError
from worker.settings import Settings
from worker.sources.files import display_path


def files_in(path: Path) -> list[Path]:
    """Everything in a folder that is not a folder, sorted, with folders that cannot be listed; or `path` itself.

    Links to files are followed, links to folders are not.
    """
    if not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for a name that is too long)
        return [path]
    unlisted: list[Path] = []
    walk = os.walk(path, onerror=lambda error: unlisted.append(Path(error.filename)))
    files = [Path(folder, name) for folder, _folders, names in walk for name in names]
    return sorted(files + unlisted)


def read_local(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that the user of this command named, wherever it lies: its own folder is the root.

    Raises as `worker.sources.files.read` does.
    """
    from worker.sources.files import read, uri_of

    try:
        mode = path.stat().st_mode
    except OSError as error:
        is_link = os.path.islink(path)  # noqa: PTH114 (Path.is_symlink raises for a name that is too long)
        what = "is a symbolic link that leads nowhere" if is_link else "does not exist"
        raise PermanentError(ErrorCode.NOT_FOUND, f"{display_path(path)} {what}") from error
    if stat.S_ISDIR(mode):
        raise PermanentError(ErrorCode.UNREADABLE, f"{display_path(path)} is a folder that may not be listed")
    if not stat.S_ISREG(mode):  # asked before links are resolved: /dev/stdin leads to a pipe, which has no path
        why = f"{display_path(path)} is not a regular file; name an image file"
        raise PermanentError(ErrorCode.NOT_A_FILE, why)
    real = Path(os.path.realpath(path))
    return read(uri_of(real), (real.parent,), max_bytes)


def with_weights_or_demo(settings: Settings) -> Settings:
    """`settings`, on the demonstration weights when no others are there; says so."""
    from worker.detector.paths import DEMO, pulled_weights

    if settings.weights is None and not pulled_weights().exists():
        notes.print(
            "No released weights here: using demonstration weights, whose verdicts decide nothing "
            "(`susy weights pull` fetches the released ones).",
            style="yellow",
        )
        return settings.model_copy(update={"weights": DEMO})
    return settings
