"""Folders that may not be image roots: those of the kernel, of devices and of secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

FORBIDDEN_FOLDERS = {
    "/proc": "files of the kernel",
    "/sys": "files of the kernel",
    "/dev": "devices",
    "/run/secrets": "the secrets of a container",
}
"""Folders that no image root may lie in or hold, and what is in them."""
KERNEL_FILE_SYSTEMS = frozenset(
    {"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs"}
)
"""Types of file systems for which the same holds, wherever they are mounted."""
MOUNTS = Path("/proc/self/mountinfo")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
"""An ordinary folder in memory, although it lies in `/dev`."""


def require_images(roots: Iterable[Path], mounts: Path = MOUNTS) -> None:
    """Raise `ValueError` for an image root that lies in such a folder or holds one.

    `mounts` lists what is mounted, in the form of `proc_pid_mountinfo(5)`.
    """
    forbidden = _forbidden_folders(mounts)
    for root in roots:
        if root.is_relative_to(SHARED_MEMORY):
            continue
        for folder, what in forbidden.items():
            if root.is_relative_to(folder) or folder.is_relative_to(root):
                raise ValueError(f"{str(root)!r} lies in, or holds, {folder}, which holds {what}")


def _forbidden_folders(listed: Path) -> dict[Path, str]:
    """Folders that no image root may lie in or hold, with those that this machine has mounted elsewhere."""
    folders = {Path(folder): what for folder, what in FORBIDDEN_FOLDERS.items()}
    try:
        mounts = listed.read_bytes().splitlines()
    except OSError:  # not Linux
        return folders
    for mount in mounts:
        before, _, after = mount.partition(b" - ")
        if after.split(b" ")[0].decode("ascii", "replace") in KERNEL_FILE_SYSTEMS:
            escaped = before.split(b" ")[4]
            point = re.sub(rb"\\([0-7]{3})", lambda digits: bytes([int(digits[1], 8)]), escaped)
            folders.setdefault(Path(os.fsdecode(point)), "files of the kernel")
    return folders
