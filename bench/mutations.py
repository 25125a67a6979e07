"""Thousands of damaged inputs, as others may send them: images, weights files, TorchScript archives, Redis URLs.

    python -m bench.mutations [--only NAME] [--count 2000] [--seed 0]

Each input is a sound one with two random changes, read in a process of its own, forked from one that has imported
everything, with limits of memory and time. A line per kind says how many were accepted and refused, and how many broke
a promise: a crash, a hang, an error that is not one of ours, a message of several lines, or a wrong acceptance. Exit
code 1 when one did; the inputs are then written to `--keep`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import kombu.utils.url
import numpy as np
import pyvips
import torch

from tests.support.corpus import encoded, texture
from tests.support.released import save_script
from worker.detector.model import SuSy
from worker.detector.torchscript_archive import ArchiveError, checked_archive
from worker.detector.weights import load_weights, save_weights
from worker.errors import SusyError
from worker.intake.decode import decode
from worker.settings.redis_url import RedisUrl

SECONDS = 20
"""For one input."""
MEMORY = 3_000_000_000
"""Bytes beyond what the process has mapped when it is forked."""
MAX_PIXELS = 2_000_000


class BrokenPromiseError(Exception):
    """An outcome that no input may have; the text names it."""


@dataclass(frozen=True)
class Kind:
    """One kind of input, and what reads it."""

    sound: Callable[[], list[bytes]]
    read: Callable[[bytes], str]
    """Returns the outcome of an input: `accepted`, or an error's code."""
    header: int
    """One change in two hits this many bytes at the beginning, or, negative, at the end."""
    share: float = 1.0
    """Of `--count`; what takes longer to read has fewer inputs."""


@cache
def sound_webps() -> list[bytes]:
    picture, turned = texture(61, 43), texture(61, 43).rotate(180)
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"
    return [
        encoded(picture, "WEBP", exif=exif),
        encoded(picture, "WEBP", lossless=True),
        encoded(picture.convert("RGBA"), "WEBP", quality=80),
        encoded(picture.convert("RGBA"), "WEBP", lossless=True, exif=exif),
        encoded(picture, "WEBP", save_all=True, append_images=[turned]),
        encoded(picture.convert("RGBA"), "WEBP", save_all=True, append_images=[turned], lossless=True),
    ]


def read_webp(content: bytes) -> str:
    pixels = decode(content, MAX_PIXELS).pixels
    height, width, channels = pixels.shape
    if width * height > MAX_PIXELS or channels != 3 or pixels.dtype != np.uint8:
        raise BrokenPromiseError(f"decoded to {pixels.dtype} {pixels.shape}")
    try:
        image = pyvips.Image.new_from_buffer(content, "", access="sequential").autorot()
        image = image.flatten(background=[255, 255, 255]) if image.hasalpha() else image
        theirs = image.colourspace("srgb").numpy().reshape(image.height, image.width, -1)[..., :3]
    except pyvips.Error:
        return "accepted here alone"
    if pixels.shape[:2] != theirs.shape[:2] or np.abs(pixels.astype(int) - theirs).mean() >= 2:
        return "accepted, other pixels than libvips'"
    return "accepted"


@cache
def sound_weights() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound.safetensors")
        torch.manual_seed(0)
        save_weights(path, SuSy(2), name="sound", version="1", classes=["a", "b"], provenance={"demo": True})
        return [path.read_bytes()]


def read_weights(content: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        model, info = load_weights(Path(file.name))
        file.seek(0)
        file.write(sound_weights()[0])
        file.truncate()
        file.flush()
        sound, expected = load_weights(Path(file.name))
    if (info.sha256, info.classes) != (expected.sha256, expected.classes):
        raise BrokenPromiseError("accepted with another digest or other classes")
    ours, theirs = model.state_dict(), sound.state_dict()
    if not all(torch.equal(ours[name], tensor) for name, tensor in theirs.items()):
        raise BrokenPromiseError("accepted with other tensors")
    return "accepted, the same network"


class Program(torch.nn.Module):
    """Tensors in records and constants, and some code."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(10, 20)
        self.register_buffer("part", torch.arange(100.0).view(10, 10)[2:5, 1::2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * 2 + torch.tensor([3.0])


@cache
def sound_archives() -> list[bytes]:
    """As torch packs it, and the same packed again, so that changes within records pass the checksums."""
    with tempfile.TemporaryDirectory() as folder:
        return [save_script(Path(folder, "program.pt"), Program()).read_bytes()]


def read_archive(content: bytes) -> str:
    """Changes beneath the checksums, too: they are put right before the archive is checked."""
    try:
        checked = checked_archive(with_right_checksums(content), 1_000_000)
    except ArchiveError as error:
        if not str(error).isprintable():
            raise BrokenPromiseError(f"a message of several lines: {error}") from error
        return "refused"
    try:
        program = torch.jit.load(io.BytesIO(checked))
        elements = sum(tensor.numel() for tensor in program.state_dict().values())
    except Exception:  # noqa: BLE001 (whatever torch raises is a refusal in `worker.detector.torchscript`)
        return "refused by torch"
    if elements > 1_000_000:
        raise BrokenPromiseError("more tensors than the records hold")
    return "accepted"


def with_right_checksums(content: bytes) -> bytes:
    """The records packed again, where they can be read at all."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = []
            for info in archive.infolist():
                info.CRC = None  # type: ignore[assignment]  # not compared
                with archive.open(info) as record:
                    record._expected_crc = None  # type: ignore[attr-defined]
                    records.append((info.filename, record.read()))
    except Exception:  # noqa: BLE001 (whatever it is, the archive is checked as it came)
        return content
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in records:
            archive.writestr(name, data)
    return packed.getvalue()


def sound_urls() -> list[bytes]:
    return [
        b"redis://localhost:6379/0",
        b"redis://user:hunter2secret@host.example:6380/3",
        b"rediss://:hunter2secret@[::1]:6379/1?ssl_cert_reqs=required&ssl_check_hostname=false",
        b"redis://host:6379?db=2&username=user&password=hunter2secret",
        b"unix:///run/redis/redis.sock?db=4&password=hunter2secret",
        b"rediss://host:6379/0?ssl_ca_certs=/etc/ca.pem&ssl_min_version=772",
    ]


def read_url(content: bytes) -> str:
    text = content.decode("utf-8", "surrogateescape")
    try:
        url = RedisUrl.parse(text)
    except ValueError as error:
        if "\n" in str(error) or "hunter2secret" in str(error) or "hunter2secret" in repr(error):
            raise BrokenPromiseError(f"a message of several lines, or with the password: {error}") from error
        return "refused"
    if "hunter2secret" in repr(url):
        raise BrokenPromiseError("the password is shown")
    options = url.client(timeout=1).connection_pool.connection_kwargs
    theirs = kombu.utils.url.url_to_parts(url.broker_url)
    if url.path is None and (theirs.hostname, theirs.port) != (url.host, url.port):
        raise BrokenPromiseError(f"kombu reads {theirs.hostname}:{theirs.port}, not {url.host}:{url.port}")
    if (theirs.username or None, theirs.password or None) != (url.username or None, url.password or None):
        raise BrokenPromiseError("kombu reads another user or password")
    if options.get("db") != url.db or options.get("password") != url.password:
        raise BrokenPromiseError("redis-py has another database or password")
    return "accepted"


KINDS = {
    "webp": Kind(sound_webps, read_webp, header=60),
    "weights": Kind(sound_weights, read_weights, header=40_000, share=0.1),
    "archives": Kind(sound_archives, read_archive, header=-3_000),
    "redis-urls": Kind(sound_urls, read_url, header=20),
}


def mutated(content: bytes, kind: Kind, chance: random.Random) -> bytes:
    """`content` with two changes: a byte set, a bit turned, a number written, bytes taken out or put in, or the end cut
    off."""
    changed = bytearray(content)
    for _ in range(2):
        size = min(abs(kind.header), len(changed)) if chance.random() < 0.5 else len(changed)
        at = chance.randrange(max(1, size))
        if kind.header < 0 and size < len(changed):
            at = len(changed) - 1 - at
        match chance.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                number = chance.choice((0, 1, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**64 - 1))
                width = chance.choice((1, 2, 4, 8))
                changed[at : at + width] = (number % 256**width).to_bytes(width, chance.choice(("big", "little")))
            case 3:
                del changed[at : at + chance.randrange(1, 40)]
            case 4:
                start = chance.randrange(max(1, len(changed)))
                changed[at:at] = changed[start : start + chance.randrange(1, 40)]
            case 5 if chance.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def outcome(kind: Kind, content: bytes) -> str:
    """The outcome of an input in a forked process, or `BROKEN: …`."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _read_and_tell(kind, content, writer)
    os.close(writer)
    answered, _, _ = select.select([reader], [], [], SECONDS)
    told = os.read(reader, 10_000).decode() if answered else ""
    os.close(reader)
    if not answered:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not answered:
        return f"BROKEN: no answer within {SECONDS} s"
    return told or f"BROKEN: ended with {os.waitstatus_to_exitcode(status)}"


def _read_and_tell(kind: Kind, content: bytes, writer: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders complain there
    try:
        told = kind.read(content)
    except BrokenPromiseError as error:
        told = f"BROKEN: {error}"
    except SusyError as error:
        told = str(error.code)
        if not error.message.isprintable():
            told = f"BROKEN: a message that is not one printable line: {error.message!r:.200}"
    except BaseException:  # noqa: BLE001 (told to the parent)
        told = f"BROKEN: {traceback.format_exc().strip().splitlines()[-1]:.200}"
    os.write(writer, told.encode(errors="replace"))
    os._exit(0)


def probe(name: str, count: int, seed: int, keep: Path | None = None) -> Counter[str]:
    """How often each outcome occurred among `count` inputs of the kind `name`."""
    kind, counts = KINDS[name], Counter[str]()
    sound = kind.sound()
    for number in range(max(1, int(count * kind.share))):
        content = mutated(sound[number % len(sound)], kind, random.Random(f"{name} {seed} {number}"))
        came = outcome(kind, content)
        counts[came] += 1
        if keep and came.startswith("BROKEN"):
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{name}-{seed}-{number}").write_bytes(content)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that broke a promise")
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that a fork has all the threads that it believes to have
    broken = 0
    for name in [options.only] if options.only else KINDS:
        started = time.monotonic()
        counts: Any = probe(name, options.count, options.seed, options.keep)
        broken += sum(times for came, times in counts.items() if came.startswith("BROKEN"))
        print(f"{name}: {sum(counts.values())} inputs in {time.monotonic() - started:.0f} s", flush=True)
        print(json.dumps(dict(counts.most_common()), indent=2, ensure_ascii=True), flush=True)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
