"""The control groups that contain this process, versions 1 and 2: what limits its cores and its memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def folders(controller: str, root: Path) -> Iterator[tuple[Path, int]]:
    """The folders of the groups that this process is in, and of those around them, each with its version, 1 or 2.

    `root` is where `/proc` and `/sys` are found. Inside a container the path may be the host's and absent here; the
    container's own group is then the top. A folder need not exist.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, _, rest = group.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        version, top = (1, root / "sys/fs/cgroup" / controller) if controllers else (2, root / "sys/fs/cgroup")
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:depth]), version
