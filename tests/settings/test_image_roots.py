"""Folders that are no place for images."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.settings.image_roots import require_images


def test_a_file_system_of_the_kernel_is_refused_wherever_it_is_mounted(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"30 29 0:26 / {tmp_path}/my\\040images/p rw - proc proc rw\n"
        f"31 29 0:27 / {tmp_path}/disk rw - ext4 /dev/sda rw\n"
    )
    with pytest.raises(ValueError, match="my images/p, which holds files of the kernel"):
        require_images([tmp_path / "my images"], mounts)
    require_images([tmp_path / "disk"], mounts)
