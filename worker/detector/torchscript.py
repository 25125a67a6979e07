"""Running an untrusted TorchScript program in a process of its own.

TorchScript can loop forever, allocate any amount of memory, and open, create and overwrite files; damaged programs
crash the process that loads them. `TorchScriptProgram` starts a child process with none of this process's environment
and talks to it through two pipes. Once the child has imported torch, it gives up the right to open files and sockets
and to write to disk, and limits its memory and its time for each request; only then does it look at the program.
Answers come back as safetensors, never as pickles. Whatever the program does, it ends here as `weights_invalid`.

This contains what a program can do by the operators of TorchScript. It is not a defence against a flaw in torch that
runs machine code of the program's choice; against that, run the command in a container without a network.
"""

from __future__ import annotations

import codecs
import io
import os
import resource
import select
import signal
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import safetensors.torch
import torch
from torch import Tensor

from worker.detector.torchscript_archive import ArchiveError, checked_archive, shown
from worker.detector.weights import invalid
from worker.errors import SetupError

_INHERITED = ("PATH", "LD_", "LC_", "LANG", "OMP_", "MKL_", "KMP_", "CUDA_", "NVIDIA_")
"""Prefixes of the environment variables that the child receives."""

_CHUNK = 1 << 20
_START_SECONDS = 300.0
_SHORTEST_CPU_SECONDS = 5


@dataclass(frozen=True)
class Limits:
    """What a program may use."""

    file_bytes: int = 256_000_000
    """Bytes of its records, unpacked. The released file has 51 million."""
    memory_bytes: int = 2_000_000_000
    """Memory beyond what torch itself needs; on CUDA, the host's memory is not limited."""
    seconds: float = 120.0
    """Time to load the program, and to answer one request."""


IMPORT_LIMITS = Limits()
CPU = torch.device("cpu")


class TorchScriptProgram:
    """A TorchScript program in a limited child process. Close it, or use it in a `with` block.

    `content` is the file, and `path` its name for messages. Raises `ConfigurationError` (`weights_invalid`) when the
    file is not a sound TorchScript archive, or the program crashes, hangs or needs more than `limits`; so do all
    methods. Not thread-safe.
    """

    def __init__(self, content: bytes, path: Path, limits: Limits = IMPORT_LIMITS, device: torch.device = CPU) -> None:
        self._path = path
        self._limits = limits
        self._process = start_process(
            device, torch.get_num_threads(), limits.file_bytes, limits.memory_bytes, limits.seconds
        )
        self._close = weakref.finalize(self, _kill, self._process)
        self._standard_error = ""
        try:
            self._wait_until_limited()
            self._ask(b"load", content)
        except BaseException:
            self.close()
            raise

    def state(self) -> dict[str, Tensor]:
        """All parameters and buffers by name, copies on the CPU; a tensor with several names is there several times."""
        return self._tensors(self._ask(b"state"))

    def answer(self, tiles: Tensor) -> Tensor:
        """The program's answer float32 [N, …] to tiles uint8 [N, 3, H, W], given to it as float32 in 0..1."""
        request = safetensors.torch.save({"tiles": tiles.contiguous()})
        answer = self._tensors(self._ask(b"answer", request)).get("answer")
        if answer is None or answer.dtype != torch.float32:
            raise invalid(self._path, "does not answer with a tensor")
        return answer

    def close(self) -> None:
        """End the child process."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _wait_until_limited(self) -> None:
        """The child answers once before it sees the program, so that no file is blamed for a faulty installation."""
        try:
            self._ask(b"ready", seconds=_START_SECONDS)
        except SetupError as error:
            raise RuntimeError(f"the process for TorchScript programs did not start: {self._standard_error}") from error

    def _ask(self, request: bytes, content: bytes = b"", seconds: float | None = None) -> bytes:
        seconds = self._limits.seconds if seconds is None else seconds
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, request.ljust(8), content)
            kind, reply = _receive_until(
                self._process.stdout,
                time.monotonic() + seconds,
                longest=4 * self._limits.file_bytes,
            )
        except TimeoutError as error:
            self._end()
            raise invalid(self._path, f"is a program that did not finish within {seconds:g} s") from error
        except (EOFError, OSError) as error:
            self._end()
            raise invalid(self._path, self._ending()) from error
        if kind == b"refused":
            raise invalid(self._path, shown(reply.decode(errors="replace"), 300))
        return reply

    def _tensors(self, reply: bytes) -> dict[str, Tensor]:
        try:
            return safetensors.torch.load(reply)
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise invalid(self._path, "does not answer with tensors") from error

    def _end(self) -> None:
        assert self._process.stderr is not None
        self._process.kill()
        lines = self._process.stderr.read(10_000).decode(errors="replace").strip().splitlines()
        self._standard_error = lines[-1] if lines else "it said nothing"
        self.close()

    def _ending(self) -> str:
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return f"is a program that ended its process {how}; it is damaged, or needs more memory than allowed"


def start_process(*arguments: object) -> subprocess.Popen[bytes]:
    """A child process that calls `serve` with these arguments; its standard streams are pipes."""
    command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # an interrupt from the keyboard is this process's to handle
    )


def _environment() -> Mapping[str, str]:
    inherited = {key: value for key, value in os.environ.items() if key.startswith(_INHERITED)}
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        with suppress(OSError):  # what was left to send has no reader
            pipe.close()


def _send(pipe: IO[bytes], kind: bytes, content: bytes) -> None:
    pipe.write(kind + len(content).to_bytes(8, "little"))
    pipe.write(content)
    pipe.flush()


def _receive_until(pipe: IO[bytes], deadline: float, longest: int) -> tuple[bytes, bytes]:
    """One frame: eight bytes of kind, eight of length, the content. Raises `TimeoutError`, `EOFError`."""
    readable = select.poll()
    readable.register(pipe, select.POLLIN)

    def read(length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            if not readable.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            part = os.read(pipe.fileno(), min(_CHUNK, length - len(parts)))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    header = read(16)
    length = int.from_bytes(header[8:], "little")
    if length > longest:
        raise EOFError(f"a reply of {length} bytes")
    return header[:8].rstrip(), read(length)


def serve() -> None:
    """What the child process does: limit itself, then answer requests until the pipe is closed."""
    device = torch.device(sys.argv[1])
    threads, file_bytes, memory_bytes = map(int, sys.argv[2:5])
    seconds = float(sys.argv[5])
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")  # TorchScript as a whole is deprecated since torch 2.9
    _warm_up(device)
    _limit(memory_bytes if device.type == "cpu" else None)
    program: torch.jit.ScriptModule | None = None
    while header := requests.read(16):
        request, content = header[:8].rstrip(), requests.read(int.from_bytes(header[8:], "little"))
        _allow_cpu_seconds(seconds * threads)
        try:
            reply = b""
            if request == b"load":
                program = torch.jit.load(io.BytesIO(checked_archive(content, file_bytes)), map_location="cpu").eval()
                program.to(device)
            elif request == b"state" and program is not None:
                reply = safetensors.torch.save({key: _copy(tensor) for key, tensor in program.state_dict().items()})
            elif request == b"answer" and program is not None:
                reply = _answer(program, safetensors.torch.load(content)["tiles"].to(device))
        except ArchiveError as error:
            _send(replies, b"refused ", str(error).encode())
        except Exception as error:  # noqa: BLE001 (a program raises whatever it likes)
            _send(replies, b"refused ", f"{_failed(request, content)} ({_reason(error)})".encode(errors="replace"))
        else:
            _send(replies, b"done    ", reply)
        del content


def _warm_up(device: torch.device) -> None:
    """Do once what a network does, so that torch loads what it needs while it can still open files."""
    request = safetensors.torch.save({"tiles": torch.zeros(2, 3, 64, 64, dtype=torch.uint8)})
    tiles = safetensors.torch.load(request)["tiles"].to(device)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.MaxPool2d(2))
    _answer(layers.eval().to(device), tiles)
    codecs.lookup("cp437")  # of names in a zip archive


def _limit(memory_bytes: int | None) -> None:
    """No new files or sockets, no output, bounded memory. What is open stays open: the two pipes."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    if memory_bytes is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory_bytes
        limits[resource.RLIMIT_NOFILE] = 0  # CUDA opens files while it runs
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))


def _allow_cpu_seconds(seconds: float) -> None:
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    limit = int(used + max(seconds, _SHORTEST_CPU_SECONDS)) + 1
    # The parent's clock ends a request first; this ends a child whose parent was killed.
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _answer(program: torch.nn.Module, tiles: Tensor) -> bytes:
    with torch.inference_mode():
        answer = program(tiles.float().div_(255))
    return safetensors.torch.save({"answer": _copy(answer).float()} if isinstance(answer, Tensor) else {})


def _failed(request: bytes, content: bytes) -> str:
    if request == b"answer":
        count, _, height, width = safetensors.torch.load(content)["tiles"].shape
        return f"fails on {count} tiles of {width}×{height}"
    return "is damaged or not a TorchScript file" if request == b"load" else "has tensors that cannot be read"


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "can't allocate memory" in str(error):
        return "it needs more memory than allowed"
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
