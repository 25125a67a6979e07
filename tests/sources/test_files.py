"""Reading sources: what is opened, what is refused, and with which code."""

from __future__ import annotations

import os
import resource
import stat
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.corpus import make_socket
from worker.errors import ErrorCode, PermanentError, SusyError, TransientError
from worker.sources import files as sources
from worker.sources.files import locate, read

LIMIT = 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    root.mkdir()
    (root / "a.jpg").write_bytes(b"bytes")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return root


def refusal(uri: str | Path, *roots: Path, limit: int = LIMIT) -> SusyError:
    with pytest.raises(SusyError) as caught:
        read(str(uri), roots, limit)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}", "FILE://LOCALHOST{}", "file:{}"])
def test_a_path_and_a_file_uri_name_the_same_file(root: Path, form: str) -> None:
    assert read(form.format(root / "a.jpg"), [root], LIMIT) == b"bytes"
    assert locate(form.format(root / "a.jpg"), [root]) == root / "a.jpg"


def test_a_file_uri_is_percent_decoded_and_a_path_is_not(root: Path) -> None:
    (root / "50% ü?#.jpg").write_bytes(b"odd")
    (root / os.fsdecode(b"\xff.jpg")).write_bytes(b"no utf-8")
    assert read(f"file://{root}/50%25%20%C3%BC%3F%23.jpg", [root], LIMIT) == b"odd"
    assert read(f"{root}/50% ü?#.jpg", [root], LIMIT) == b"odd"
    assert read(f"file://{root}/%FF.jpg", [root], LIMIT) == b"no utf-8"


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:hunter2@example.com/a.jpg?signature=hunter2",
        "s3://bucket/a.jpg",
        "data:image/png;base64,hunter2",
        "file://example.com/images/a.jpg",
        "file:///images/a.jpg?hunter2",
        "file:a.jpg",
        "file:",
        "a.jpg",
        "./a.jpg",
        "",
    ],
)
def test_a_source_without_a_reader_is_unsupported_and_its_secrets_stay_out_of_the_message(root: Path, uri: str) -> None:
    error = refusal(uri, root)
    assert isinstance(error, PermanentError)
    assert error.code == ErrorCode.UNSUPPORTED_SOURCE
    assert "hunter2" not in error.message


def test_without_roots_everything_is_refused_and_the_message_names_the_setting(root: Path) -> None:
    error = refusal(root / "a.jpg")
    assert error.code == ErrorCode.OUTSIDE_ROOTS
    assert "SUSY_IMAGE_ROOTS" in error.message


@pytest.mark.parametrize("escape", ["../secret.jpg", "x/../../secret.jpg", "%2e%2e/secret.jpg", "..%2fsecret.jpg"])
def test_dots_do_not_lead_out_of_the_roots(root: Path, escape: str) -> None:
    assert refusal(f"file://{root}/{escape}", root).code == ErrorCode.OUTSIDE_ROOTS


def test_a_root_is_no_mere_prefix(root: Path) -> None:
    neighbour = root.with_name("images-private")
    neighbour.mkdir()
    (neighbour / "a.jpg").write_bytes(b"private")
    assert refusal(neighbour / "a.jpg", root).code == ErrorCode.OUTSIDE_ROOTS


def test_links_are_followed_inside_the_roots_and_refused_when_they_leave_them(root: Path) -> None:
    (root / "in.jpg").symlink_to("a.jpg")
    (root / "out.jpg").symlink_to("../secret.jpg")
    (root / "up").symlink_to("..")
    assert read(str(root / "in.jpg"), [root], LIMIT) == b"bytes"
    assert refusal(root / "out.jpg", root).code == ErrorCode.OUTSIDE_ROOTS
    assert refusal(root / "up" / "secret.jpg", root).code == ErrorCode.OUTSIDE_ROOTS


def test_a_root_may_itself_be_reached_by_a_link(root: Path) -> None:
    link = root.with_name("link")
    link.symlink_to(root)
    assert read(str(link / "a.jpg"), [link], LIMIT) == b"bytes"
    assert read(str(link / "a.jpg"), [root], LIMIT) == b"bytes"


def test_every_root_counts(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert read(str(root / "a.jpg"), [other, root], LIMIT) == b"bytes"


def test_outside_the_roots_the_answer_does_not_tell_what_exists(root: Path, tmp_path: Path) -> None:
    exists, missing = refusal(tmp_path / "secret.jpg", root), refusal(tmp_path / "nothing.jpg", root)
    assert exists.code == missing.code == ErrorCode.OUTSIDE_ROOTS
    assert exists.message.replace("secret", "") == missing.message.replace("nothing", "")


@pytest.mark.parametrize("name", ["missing.jpg", "a.jpg/inner.jpg", "x" * 300, "nul\x00.jpg"])
def test_what_does_not_exist_is_not_found(root: Path, name: str) -> None:
    assert refusal(f"{root}/{name}", root).code == ErrorCode.NOT_FOUND


@pytest.mark.timeout(10)
def test_folders_pipes_sockets_and_devices_are_no_files_and_never_block(root: Path) -> None:
    (root / "folder.jpg").mkdir()
    os.mkfifo(root / "pipe.jpg")
    make_socket(root / "socket.jpg")
    for name in ("folder.jpg", "pipe.jpg", "socket.jpg"):
        assert refusal(root / name, root).code == ErrorCode.NOT_A_FILE
    assert refusal("/dev/zero", Path("/dev")).code == ErrorCode.NOT_A_FILE
    assert refusal(root, root).code == ErrorCode.NOT_A_FILE


@pytest.mark.timeout(10)
@pytest.mark.parametrize("replacement", ["pipe", "link", "folder"])
def test_a_file_exchanged_after_the_look_is_not_read(
    root: Path, replacement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real_open = root / "a.jpg", os.open

    def exchange_first(name: str | Path, *args: int, **kwargs: int) -> int:
        if name == "a.jpg":
            path.unlink()
            if replacement == "pipe":
                os.mkfifo(path)
            elif replacement == "folder":
                path.mkdir()
            else:
                path.symlink_to("../secret.jpg")
        return real_open(name, *args, **kwargs)

    monkeypatch.setattr(sources.os, "open", exchange_first)
    expected = ErrorCode.OUTSIDE_ROOTS if replacement == "link" else ErrorCode.NOT_A_FILE
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert refusal(path, root).code == expected
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_folder_exchanged_for_a_link_after_the_look_leads_nowhere(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real_open = root / "day", os.open
    folder.mkdir()
    (folder / "secret.jpg").write_bytes(b"harmless")

    def exchange_first(name: str | Path, *args: int, **kwargs: int) -> int:
        if name == "day":
            folder.rename(root / "moved")
            folder.symlink_to("..")
        return real_open(name, *args, **kwargs)

    monkeypatch.setattr(sources.os, "open", exchange_first)
    error = refusal(folder / "secret.jpg", root)
    assert isinstance(error, PermanentError)
    assert not folder.resolve().is_relative_to(root)


@pytest.mark.parametrize("target", ["/proc/self/environ", "/proc/self/fd/0", "/proc/self/mem", "/dev/zero"])
def test_a_link_to_a_file_of_the_kernel_or_a_device_leads_outside(root: Path, target: str) -> None:
    (root / "link.jpg").symlink_to(target)
    assert refusal(root / "link.jpg", root).code == ErrorCode.OUTSIDE_ROOTS
    assert refusal(target, root).code == ErrorCode.OUTSIDE_ROOTS


def test_another_way_into_a_root_names_the_same_file(root: Path) -> None:
    assert read(f"/proc/self/root{root}/a.jpg", [root], LIMIT) == b"bytes"
    assert refusal(f"/proc/self/root{root}/../secret.jpg", root).code == ErrorCode.OUTSIDE_ROOTS


@pytest.mark.timeout(10)
@pytest.mark.parametrize(("kind", "device"), [(stat.S_IFCHR, os.makedev(1, 5)), (stat.S_IFBLK, os.makedev(7, 250))])
def test_a_device_inside_a_root_is_not_opened(root: Path, kind: int, device: int) -> None:
    try:
        os.mknod(root / "device.jpg", kind | 0o600, device)
    except PermissionError:
        pytest.skip("only root may create devices")
    assert refusal(root / "device.jpg", root).code == ErrorCode.NOT_A_FILE


def test_a_hard_link_is_a_file_of_its_own(root: Path) -> None:
    (root / "hard.jpg").hardlink_to(root.parent / "secret.jpg")
    assert read(str(root / "hard.jpg"), [root], LIMIT) == b"secret", "docs/security.md says who may create one"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_race_between_the_look_and_the_opening_never_leads_outside(root: Path, swapped: str) -> None:
    folder = root / "day"
    folder.mkdir()
    (folder / "secret.jpg").write_bytes(b"harmless")
    target = folder if swapped == "folder" else folder / "secret.jpg"
    outside = root.parent if swapped == "folder" else root.parent / "secret.jpg"
    link, kept = root / "link", root / "kept"
    stopped = threading.Event()

    def swap() -> None:
        while not stopped.is_set():
            link.symlink_to(outside)
            target.rename(kept)
            link.rename(target)
            time.sleep(0)
            target.unlink()
            kept.rename(target)
            time.sleep(0.0003)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen: Counter[str] = Counter()
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until or not (seen["read"] and seen[ErrorCode.OUTSIDE_ROOTS]):
            try:
                content = read(str(folder / "secret.jpg"), [root], LIMIT)
            except SusyError as error:
                seen[error.code] += 1
            else:
                assert content == b"harmless"
                seen["read"] += 1
    finally:
        stopped.set()
        swapper.join()
    refusals = {ErrorCode.OUTSIDE_ROOTS, ErrorCode.NOT_FOUND, ErrorCode.NOT_A_FILE, ErrorCode.UNREADABLE}
    assert set(seen) <= {"read", *refusals}


def test_the_byte_cap_is_exact(root: Path) -> None:
    assert read(str(root / "a.jpg"), [root], 5) == b"bytes"
    error = refusal(root / "a.jpg", root, limit=4)
    assert error.code == ErrorCode.TOO_MANY_BYTES
    assert "SUSY_MAX_BYTES" in error.message


def test_a_file_that_grows_while_it_is_read_is_followed_up_to_the_cap(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real_fstat = root / "a.jpg", os.fstat

    def grow_after(descriptor: int) -> os.stat_result:
        status = real_fstat(descriptor)
        with path.open("ab") as file:
            file.write(b"x" * 10)
        return status

    monkeypatch.setattr(sources.os, "fstat", grow_after)
    assert read(str(path), [root], 100) == b"bytes" + b"x" * 10
    assert refusal(path, root, limit=20).code == ErrorCode.TOO_MANY_BYTES


def test_an_endless_file_that_claims_no_size_stops_at_the_cap() -> None:
    assert refusal("/proc/self/smaps", Path("/proc/self"), limit=100).code == ErrorCode.TOO_MANY_BYTES


def test_an_error_of_the_disk_is_transient() -> None:
    error = refusal("/proc/self/mem", Path("/proc/self"))  # its first page is not mapped: reading it is a real EIO
    assert isinstance(error, TransientError)
    assert error.code == ErrorCode.UNREADABLE


def test_running_out_of_descriptors_is_transient(root: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        error = refusal(root / "a.jpg", root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(error, TransientError)
    assert error.code == ErrorCode.UNREADABLE


def test_a_root_that_is_not_mounted_is_transient(tmp_path: Path) -> None:
    error = refusal(tmp_path / "mount" / "a.jpg", tmp_path / "mount")
    assert isinstance(error, TransientError)
    assert "SUSY_IMAGE_ROOTS" in error.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what nobody may read")
def test_a_file_without_permission_is_unreadable_for_good(root: Path) -> None:
    (root / "a.jpg").chmod(0)
    error = refusal(root / "a.jpg", root)
    assert isinstance(error, PermanentError)
    assert error.code == ErrorCode.UNREADABLE


def test_a_denied_permission_is_permanent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def deny(name: str | Path, *args: int, **kwargs: int) -> int:
        if name == "a.jpg":
            raise PermissionError(13, os.strerror(13))
        return real_open(name, *args, **kwargs)

    monkeypatch.setattr(sources.os, "open", deny)
    error = refusal(root / "a.jpg", root)
    assert isinstance(error, PermanentError)
    assert error.code == ErrorCode.UNREADABLE


def test_a_hostile_name_reaches_the_message_escaped(root: Path) -> None:
    message = refusal(f"file://{root}/a%0Ab%1B[31m%FF.jpg", root).message
    assert message.isprintable()
    message.encode()


def test_no_descriptor_is_left_open(root: Path) -> None:
    (root / "folder.jpg").mkdir()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        read(str(root / "a.jpg"), [root], LIMIT)
        refusal(root / "a.jpg", root, limit=1)
        refusal(root / "a.jpg" / "b", root)
        refusal(root / "folder.jpg", root)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
