"""Reading within bounds, writing atomically, and leaving alone whatever is not a regular file."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.errors import ConfigurationError, ErrorCode
from worker.files import read_regular_file, remove_partial_files, require_replaceable, write_atomically


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # an absolute path may be too long for a socket


def make_link(path: Path) -> None:
    path.with_name("linked").write_bytes(b"kept")
    path.symlink_to("linked")


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))  # as /dev/null
    except PermissionError:
        pytest.skip("only root may make a device")


SPECIAL: dict[str, tuple[Callable[[Path], None], str]] = {
    "folder": (Path.mkdir, "is a folder"),
    "pipe": (os.mkfifo, "is a named pipe"),
    "socket": (make_socket, "is a socket"),
    "device": (make_device, "is a device"),
    "link": (make_link, "is a symbolic link"),
    "dangling link": (lambda path: path.symlink_to("nothing"), "is a symbolic link"),
    "link to itself": (lambda path: path.symlink_to(path.name), "is a symbolic link"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_only_a_regular_file_is_replaced(kind: str, tmp_path: Path) -> None:
    make, words = SPECIAL[kind]
    path = tmp_path / "target"
    make(path)
    before = path.lstat()
    for refusing in (require_replaceable, lambda path: write_atomically(path, b"new")):
        with pytest.raises(ConfigurationError, match=f"{words}, and only a regular file is replaced") as caught:
            refusing(path)
        assert caught.value.code is ErrorCode.NOT_A_FILE
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert not list(tmp_path.glob("*.partial"))
    if kind == "link":
        assert path.read_bytes() == b"kept"


def test_a_file_and_its_folders_are_made_and_later_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    require_replaceable(path)
    write_atomically(path, b"first")
    require_replaceable(path)
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert [child.name for child in path.parent.iterdir()] == ["file"]


def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    write_atomically(tmp_path / "linked" / "file", b"content")
    assert (tmp_path / "real" / "file").read_bytes() == b"content"


def test_a_hard_link_keeps_the_old_content_under_its_other_name(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"old")
    (tmp_path / "other").hardlink_to(tmp_path / "one")
    write_atomically(tmp_path / "one", b"new")
    assert ((tmp_path / "one").read_bytes(), (tmp_path / "other").read_bytes()) == (b"new", b"old")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"file/target cannot be written") as caught:
        write_atomically(tmp_path / "file" / "target", b"content")
    assert caught.value.code is ErrorCode.DISK_FULL


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    writers = [
        threading.Thread(target=lambda content=content: write_atomically(tmp_path / "file", content))
        for content in contents
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "file").read_bytes() in contents
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("file", "file.0a1b2c3d.partial"):
        (tmp_path / name).write_bytes(b"")
    remove_partial_files(tmp_path)
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_only_regular_files_are_read_and_nothing_is_waited_for(kind: str, tmp_path: Path) -> None:
    make, words = SPECIAL[kind]
    make(tmp_path / "source")
    (tmp_path / "link").symlink_to("source")
    start = time.monotonic()
    for path in (tmp_path / "source", tmp_path / "link"):
        with pytest.raises(OSError, match=f"it {words}"):
            read_regular_file(path, 100)
    assert time.monotonic() - start < 5


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular_file(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match="it has more than 4 bytes"):
        read_regular_file(path, 4)


def test_a_file_that_is_larger_than_it_says_is_read_up_to_the_bound_too() -> None:
    assert Path("/proc/self/maps").stat().st_size == 0
    with pytest.raises(OSError, match="it has more than 100 bytes"):
        read_regular_file(Path("/proc/self/maps"), 100)
