"""The archive of a TorchScript program, checked before torch reads it.

A TorchScript file is a zip archive: tensors as raw records, objects as pickles that say which part of which record is
which tensor, and source code. Torch believes all three: it reads as many bytes as a pickle claims, whatever the
record's length, and unpacks whatever a record unpacks to. Therefore every record is read here, with bounds on its
size; the pickles are read without importing anything, and each tensor must lie within its record. What passed is packed
again, so that torch sees these records and nothing else of the file.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_RECORDS = 20_000
MAX_CODE_BYTES = 16_000_000
MAX_RATIO = 200
"""How much larger than its packed bytes a record may be. Torch packs its code at up to some 30 and its tensors not."""

_ITEM_BYTES = {
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "BFloat16Storage": 2,
    "HalfStorage": 2,
    "ShortStorage": 2,
    "FloatStorage": 4,
    "IntStorage": 4,
    "QInt32Storage": 4,
    "ComplexFloatStorage": 8,
    "DoubleStorage": 8,
    "LongStorage": 8,
    "ComplexDoubleStorage": 16,
}


class ArchiveError(ValueError):
    """An archive that is refused; the text completes the sentence "the file …"."""


def checked_archive(content: bytes, max_bytes: int) -> bytes:
    """The archive `content` packed again from its checked records, none compressed.

    `max_bytes` bounds the unpacked records in all, and the tensors in all. Raises `ArchiveError`.
    """
    records = _read_records(content, max_bytes)
    if "constants.pkl" not in records or "data.pkl" not in records:
        raise ArchiveError("is a pickled checkpoint, not a TorchScript file; it was not opened")
    if sum(len(data) for name, data in records.items() if name.startswith("code/")) > MAX_CODE_BYTES:
        raise ArchiveError(f"has more than {MAX_CODE_BYTES:,} bytes of code")
    for pickled, folder in (("data.pkl", "data/"), ("constants.pkl", "constants/")):
        _check_tensors(records, pickled, folder, max_bytes)

    repacked = io.BytesIO()
    with zipfile.ZipFile(repacked, "w", zipfile.ZIP_STORED) as archive:
        for name, data in records.items():
            if name in ("data.pkl", "constants.pkl", "version", "byteorder") or (
                name.startswith(("code/", "data/", "constants/")) and not name.endswith(".debug_pkl")
            ):
                archive.writestr(f"archive/{name}", data)
    return repacked.getvalue()


def _read_records(content: bytes, max_bytes: int) -> dict[str, bytes]:
    """The records by name without their common folder, each with the checksum that the archive gives for it."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError) as error:
        truncated = content[:4] == b"PK\x03\x04"
        why = "is truncated; fetch it again" if truncated else "is not a TorchScript file"
        raise ArchiveError(why) from error
    records: dict[str, bytes] = {}
    with archive:
        for info in _within_bounds(archive.infolist(), len(content), max_bytes):
            name = info.filename.partition("/")[2]
            try:
                data = archive.read(info)
            # OverflowError: an offset that no file has.
            except (
                zipfile.BadZipFile,
                zlib.error,
                EOFError,
                OSError,
                ValueError,
                RuntimeError,
                OverflowError,
            ) as error:
                raise ArchiveError(f"is damaged: {shown(info.filename)} does not match its checksum") from error
            if len(data) != info.file_size:
                raise ArchiveError(f"is damaged: {shown(info.filename)} is shorter than the archive says")
            records[name] = data
    return records


def _within_bounds(infos: list[zipfile.ZipInfo], packed_bytes: int, max_bytes: int) -> Iterator[zipfile.ZipInfo]:
    if len(infos) > MAX_RECORDS:
        raise ArchiveError(f"has more than {MAX_RECORDS:,} records")
    if sum(info.compress_size for info in infos) > packed_bytes:
        raise ArchiveError("is damaged: its records overlap")
    if sum(info.file_size for info in infos) > max_bytes:
        raise ArchiveError(f"unpacks to more than {max_bytes:,} bytes")
    if len({info.filename.partition("/")[0] for info in infos}) > 1:
        raise ArchiveError("is not a TorchScript file")
    names: set[str] = set()
    for info in infos:
        if info.filename.lower() in names:  # torch looks records up without regard to case
            raise ArchiveError(f"is damaged: it has two records {shown(info.filename)}")
        names.add(info.filename.lower())
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise ArchiveError(f"has a record {shown(info.filename)} that is encrypted or packed in an unknown way")
        if info.file_size > MAX_RATIO * (info.compress_size + 100):
            raise ArchiveError(
                f"has a record {shown(info.filename)} that unpacks to {MAX_RATIO} times its size or more"
            )
        yield info


def _check_tensors(records: Mapping[str, bytes], pickled: str, folder: str, max_bytes: int) -> None:
    try:
        _TensorReader(records, pickled, folder, max_bytes).load()
    except ArchiveError:
        raise
    except Exception as error:
        raise ArchiveError(f"is damaged: {pickled} cannot be read ({type(error).__name__})") from error


class _Placeholder:
    """Takes the place of every class and function that a pickle names; does nothing."""

    def __init__(self, *_arguments: Any, **_more: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...

    def __setitem__(self, _key: Any, _value: Any) -> None: ...

    def append(self, _item: Any) -> None: ...

    def extend(self, _items: Any) -> None: ...


@dataclass(frozen=True)
class _Storage:
    items: int
    item_bytes: int


class _TensorReader(pickle.Unpickler):
    """Reads a pickle for its tensors alone; no name in it is imported."""

    def __init__(self, records: Mapping[str, bytes], pickled: str, folder: str, max_bytes: int) -> None:
        super().__init__(io.BytesIO(records[pickled]))
        self._records = records
        self._folder = folder
        self._bytes_left = max_bytes

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name.endswith("Storage"):
            return name
        if module == "torch._utils" and name.startswith("_rebuild"):
            if name not in ("_rebuild_tensor_v2", "_rebuild_qtensor"):
                raise ArchiveError(f"has a tensor of an unknown kind ({shown(name)})")
            return self._check_tensor
        return _Placeholder

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, items = pid
        item_bytes = _ITEM_BYTES.get(storage_type)
        if kind != "storage" or item_bytes is None:
            raise ArchiveError(f"has a tensor of an unknown type ({shown(storage_type)})")
        record = self._records.get(f"{self._folder}{key}")
        if record is None:
            raise ArchiveError(f"lacks the record {self._folder}{shown(key)} of a tensor")
        if not _are_counts([items]) or items * item_bytes > len(record):
            raise ArchiveError(
                f"is damaged: the record {self._folder}{shown(key)} has {len(record):,} bytes, its tensor needs more"
            )
        return _Storage(items, item_bytes)

    def _check_tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_more: Any) -> _Placeholder:
        if not isinstance(storage, _Storage) or len(size) != len(stride) or not _are_counts([offset, *size, *stride]):
            raise ArchiveError("is damaged: a tensor has no valid shape")
        elements = math.prod(size)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if elements else 0
        if elements and last >= storage.items:
            raise ArchiveError("is damaged: a tensor is larger than its record")
        self._bytes_left -= elements * storage.item_bytes
        if self._bytes_left < 0:
            raise ArchiveError("has tensors that need more memory than allowed")
        return _Placeholder()


def _are_counts(numbers: list[Any]) -> bool:
    return all(type(number) is int and 0 <= number < 2**63 for number in numbers)


def shown(text: object, longest: int = 80) -> str:
    """Text from the file, for a message: printable, and not long."""
    return "".join(character if character.isprintable() else "?" for character in str(text)[:longest])
