"""Archives that torch would read beyond their records, unpack without end, or read otherwise than we do."""

import contextlib
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.released import load_script, save_script
from worker.detector.torchscript_archive import MAX_RECORDS, ArchiveError, checked_archive

LIMIT = 1_000_000


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(10, 20)
        self.register_buffer("part", torch.arange(100.0).view(10, 10)[2:5, 1::2])
        self.register_buffer("repeated", torch.ones(1, 7).expand(3, 7))
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("brief", torch.ones(3, dtype=torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * 2 + torch.tensor([3.0])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_script(tmp_path_factory.mktemp("program") / "small.pt", Small()).read_bytes()


def records(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def packed(contents: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in contents.items() if isinstance(contents, dict) else contents:
            archive.writestr(name, data)
    return buffer.getvalue()


def refusal(content: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(ArchiveError) as caught:
        checked_archive(content, limit)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_checked_program_has_the_same_tensors_and_answers(program: bytes) -> None:
    checked = checked_archive(program, LIMIT)
    before, after = (load_script(io.BytesIO(content)) for content in (program, checked))
    states = before.state_dict(), after.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())
    x = torch.rand(4, 10)
    assert torch.equal(before(x), after(x))


def test_only_what_torch_needs_is_kept(program: bytes) -> None:
    contents = records(program) | {"small/extra/x": b"1", "small/model.json": b"{}", "small/mobile_debug_handles": b"2"}
    kept = records(checked_archive(packed(contents), LIMIT))
    assert {name.split("/")[1] for name in kept} == {
        "data.pkl",
        "constants.pkl",
        "version",
        "byteorder",
        "code",
        "data",
    } | {name.split("/")[1] for name in contents if name.startswith("small/constants/")}
    assert not any(name.endswith(".debug_pkl") for name in kept)


def test_a_record_shorter_than_its_tensor_is_refused(program: bytes) -> None:
    contents = records(program)
    for name in [name for name in contents if name.startswith(("small/data/", "small/constants/")) and contents[name]]:
        short = contents | {name: contents[name][:-1]}
        assert f"the record {name.removeprefix('small/')} has " in refusal(packed(short)), name


def test_a_record_that_is_not_there_is_named(program: bytes) -> None:
    contents = {name: data for name, data in records(program).items() if name != "small/data/0"}
    assert "lacks the record data/0" in refusal(packed(contents))


def with_pickle(program: bytes, change: Callable[[bytes], bytes], name: str = "data.pkl") -> bytes:
    contents = records(program)
    return packed(contents | {f"small/{name}": change(contents[f"small/{name}"])})


def tensor(items: Any = 4, offset: Any = 0, size: Any = (4,), stride: Any = (1,), kind: str = "FloatStorage") -> bytes:
    """A pickle of one tensor in the record `data/0`, put together as torch does."""

    def plain(*values: Any) -> bytes:
        return b"".join(pickle.dumps(value, 2)[2:-1] for value in values)

    storage = b"(" + plain("storage") + f"ctorch\n{kind}\n".encode() + plain("0", "cpu", items) + b"tQ"
    arguments = b"(" + storage + plain(offset, size, stride, False, None) + b"t"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R."


def test_the_pickle_of_a_sound_tensor_is_read(program: bytes) -> None:
    contents = records(program) | {"small/data.pkl": tensor(), "small/data/0": bytes(16)}
    checked_archive(packed(contents), LIMIT)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"items": 5}, "record data/0 has 16 bytes"),
        ({"items": 2**62}, "record data/0 has 16 bytes"),
        ({"items": -1}, "record data/0 has 16 bytes"),
        ({"items": 2.0}, "record data/0 has 16 bytes"),
        ({"kind": "DoubleStorage"}, "record data/0 has 16 bytes"),
        ({"kind": "UntypedStorage"}, "unknown type"),
        ({"kind": "\x1b[31mStorage"}, "unknown type"),
        ({"size": (5,)}, "larger than its record"),
        ({"offset": 1}, "larger than its record"),
        ({"offset": -1}, "no valid shape"),
        ({"size": (2, 2), "stride": (3, 1)}, "larger than its record"),
        ({"size": (2, 2)}, "no valid shape"),
        ({"size": (-1,)}, "no valid shape"),
        ({"stride": (-1,)}, "no valid shape"),
        ({"size": (2**40,), "stride": (0,)}, "more memory than allowed"),
        ({"size": (2**62, 2**62), "stride": (0, 0)}, "more memory than allowed"),
        ({"size": 3}, "cannot be read"),
        ({"items": "x"}, "record data/0 has 16 bytes"),
    ],
)
def test_a_tensor_that_does_not_lie_within_its_record_is_refused(
    made: dict[str, Any], words: str, program: bytes
) -> None:
    contents = records(program) | {"small/data.pkl": tensor(**made), "small/data/0": bytes(16)}
    assert words in refusal(packed(contents))


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["data.pkl", "constants.pkl"])
def test_nothing_in_a_pickle_is_called(name: str, program: bytes, tmp_path: Path) -> None:
    mark = tmp_path / "called"
    with contextlib.suppress(ArchiveError):
        checked_archive(with_pickle(program, lambda _: pickle.dumps(Trap(mark), 2), name), LIMIT)
    assert not mark.exists()


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\x80\x02", b"\x80\x02(", b"garbage", b"\x80\x02Q."],
)
def test_a_damaged_pickle_is_refused(damaged: bytes, program: bytes) -> None:
    assert "data.pkl cannot be read" in refusal(with_pickle(program, lambda _: damaged))


def test_tensors_of_unknown_kinds_are_refused(program: bytes) -> None:
    made = tensor().replace(b"_rebuild_tensor_v2", b"_rebuild_sparse_tensor")
    contents = records(program) | {"small/data.pkl": made, "small/data/0": bytes(16)}
    assert "a tensor of an unknown kind (_rebuild_sparse_tensor)" in refusal(packed(contents))


def test_a_bomb_is_refused_before_it_is_unpacked(program: bytes) -> None:
    zeros = bytes(50_000_000)
    contents = records(program)
    assert "unpacks to more than 1,000,000 bytes" in refusal(
        packed(contents | {"small/data/99": zeros}, zipfile.ZIP_DEFLATED)
    )
    assert "unpacks to 200 times its size" in refusal(
        packed(contents | {"small/data/99": zeros}, zipfile.ZIP_DEFLATED), limit=100_000_000
    )
    assert "bytes of code" in refusal(
        packed(contents | {"small/code/x.py": bytes(range(256)) * 70_000}), limit=100_000_000
    )
    assert "more than 20,000 records" in refusal(packed({f"a/{number}": b"" for number in range(MAX_RECORDS + 1)}))


def test_a_record_that_unpacks_to_more_than_the_archive_says_is_refused(program: bytes) -> None:
    content = bytearray(packed(records(program) | {"small/data/99": bytes(range(256)) * 40}, zipfile.ZIP_DEFLATED))
    entry = content.rindex(b"small/data/99")
    struct.pack_into("<I", content, entry - 46 + 24, 100)  # its unpacked size in the directory
    assert "is damaged: small/data/99 does not match its checksum" in refusal(bytes(content))


def test_records_that_share_their_bytes_are_refused(program: bytes) -> None:
    once = packed(records(program) | {"small/data/98": bytes(200_000), "small/data/99": bytes(200_000)})
    content = bytearray(once)
    first, second = once.rindex(b"small/data/98"), once.rindex(b"small/data/99")
    local = once[first - 46 + 42 : first - 46 + 46]
    start = once.index(b"small/data/99") - 30
    end = start + 30 + len("small/data/99") + 200_000
    content[second - 46 + 42 : second - 46 + 46] = local
    shorter = content[:start] + content[end:]
    directory = once.index(b"PK\x01\x02") - (end - start)
    struct.pack_into("<I", shorter, len(shorter) - 22 + 16, directory)
    assert "its records overlap" in refusal(bytes(shorter))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("other", ["small/data/0", "small/DATA/0"])
def test_two_records_of_one_name_are_refused(other: str, program: bytes) -> None:
    twice = [*records(program).items(), (other, bytes(800))]
    assert "has two records" in refusal(packed(twice))


def test_archives_of_other_kinds_are_refused(program: bytes) -> None:
    assert "is not a TorchScript file" in refusal(b"")
    assert "is not a TorchScript file" in refusal(packed(records(program) | {"elsewhere/x": b""}))
    assert "pickled checkpoint" in refusal(packed({"a/data.pkl": pickle.dumps(1)}))
    assert "packed in an unknown way" in refusal(packed(records(program), zipfile.ZIP_BZIP2))
    for cut in (1, 100, len(program) // 2):
        assert "is truncated" in refusal(program[:-cut])


def test_names_from_the_file_are_shown_without_control_characters(program: bytes) -> None:
    name = "small/data/\x1b]0;owned\x07" + "x" * 500
    message = refusal(packed([*records(program).items(), (name, b"1"), (name.upper(), b"1")]))
    assert len(message) < 200


def test_a_record_at_an_offset_that_no_file_has_is_refused(program: bytes) -> None:
    content = io.BytesIO(program)
    with zipfile.ZipFile(content, "a") as archive:
        archive.filelist[0].header_offset = 2**63
        archive._didModify = True  # type: ignore[attr-defined]  # so that the directory is written again
    assert "is damaged" in refusal(content.getvalue())


def test_random_damage_is_refused_or_harmless(program: bytes) -> None:
    """Whatever is changed, nothing else than `ArchiveError` is raised."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        content = bytearray(program)
        for _ in range(int(torch.randint(1, 4, (), generator=generator))):
            position = int(torch.randint(len(content), (), generator=generator))
            content[position] = int(torch.randint(256, (), generator=generator))
        with contextlib.suppress(ArchiveError):
            checked_archive(bytes(content), LIMIT)
