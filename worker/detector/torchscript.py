"""The released TorchScript program, loaded from its file."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

from worker.detector.weights import invalid


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise invalid(path, f"cannot be read ({error.strerror or error})") from error


def load_torchscript(path: Path) -> nn.Module:
    """The released program on the CPU, in evaluation mode. Pickled checkpoints are recognized and not opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()  # torch does not look at the checksums
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            start = file.read(4)
        why = "is truncated; fetch it again" if start == b"PK\x03\x04" else "is not a TorchScript file"
        raise invalid(path, why) from error
    if damaged is not None:
        raise invalid(path, f"is damaged: {damaged} does not match its checksum; fetch it again")
    if not any(name.endswith("/constants.pkl") for name in names):
        raise invalid(path, "is a pickled checkpoint, not a TorchScript file; it was not opened")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as a whole, since torch 2.9
            return torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-any-return]
    except (RuntimeError, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise invalid(path, f"is damaged or not a TorchScript file ({reason})") from error
