"""Hostile, damaged and endless programs end as `weights_invalid`, and nothing else happens."""

from __future__ import annotations

import gc
import io
import os
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor, nn

from tests.support.forks import ForkedProcess
from tests.support.released import save_script
from worker.detector.torchscript import Limits, TorchScriptProgram
from worker.errors import ErrorCode, SetupError

LIMITS = Limits(memory_bytes=500_000_000, seconds=60)
BRIEF = Limits(memory_bytes=500_000_000, seconds=3)
forked = pytest.mark.usefixtures("forked_programs")
"""For tests of what a program does. Those of what the process can do start it as users do."""
TILES = torch.arange(2 * 3 * 8 * 8).to(torch.uint8).view(2, 3, 8, 8)


Children = Callable[[], list[psutil.Process]]


@pytest.fixture(autouse=True)
def children() -> Iterator[Children]:
    """Lists the processes that a test has started for TorchScript programs, of which none may remain.

    pytest may have others, such as the one of a scorer that tests of evaluations share.
    """
    before = set(_programs())

    def own() -> list[psutil.Process]:
        return [child for child in _programs() if child not in before]

    yield own
    gc.collect()
    assert own() == []


def _programs() -> list[psutil.Process]:
    serve = "torchscript import serve"
    return [child for child in psutil.Process().children() if any(serve in word for word in child.cmdline())]


def started(module: nn.Module, tmp_path: Path, limits: Limits = LIMITS) -> TorchScriptProgram:
    path = save_script(tmp_path / "program.pt", module)
    return TorchScriptProgram(path.read_bytes(), path, limits)


def refusal(module: nn.Module, tmp_path: Path, limits: Limits = LIMITS) -> str:
    with started(module, tmp_path, limits) as program, pytest.raises(SetupError) as caught:
        program.answer(TILES)
    assert caught.value.code is ErrorCode.WEIGHTS_INVALID
    assert str(tmp_path / "program.pt") in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


class Means(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.other_name = self.linear

    def forward(self, x: Tensor) -> Tensor:
        print("a program may print; it does not reach the answers")
        return self.linear(x.mean(dim=(2, 3)))


@forked
def test_a_program_answers_as_it_does_in_this_process(tmp_path: Path) -> None:
    module = Means()
    with started(module, tmp_path) as program:
        for tiles in (TILES, TILES[:1], TILES):
            expected = module(tiles.float() / 255)
            assert torch.allclose(program.answer(tiles), expected, atol=1e-6)
        state = program.state()
    assert state.keys() == module.state_dict().keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in module.state_dict().items())


class Prints(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while x.sum() >= 0:
            print(x)
        return x


@forked
def test_an_endless_program_is_ended_whatever_it_prints(tmp_path: Path) -> None:
    start = time.monotonic()
    assert "did not finish within 3 s" in refusal(Prints(), tmp_path, BRIEF)
    assert time.monotonic() - start < 60


class Greedy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(40_000_000_000, dtype=torch.uint8).sum()


class Hoards(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        while x.sum() >= 0:
            kept.append(torch.ones(1_000_000) * len(kept))
        return torch.cat(kept)


@forked
@pytest.mark.parametrize("module", [Greedy(), Hoards()])
def test_a_program_that_needs_gigabytes_is_refused(module: nn.Module, tmp_path: Path) -> None:
    assert "more memory than allowed" in refusal(module, tmp_path)


class AnswersMuch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(6_000_000, dtype=torch.uint8).expand(2, 6_000_000)


@forked
def test_an_answer_without_end_is_not_read(tmp_path: Path) -> None:
    assert "ended its process" in refusal(AnswersMuch(), tmp_path, Limits(file_bytes=10_000_000, seconds=60))


class Opens(nn.Module):
    """Given one or two tiles, it reads a file; three or four, overwrites one; five or six, saves one.

    The file is one that is there for an odd number of tiles, and a new one otherwise.
    """

    def __init__(self, there: Path, new: Path) -> None:
        super().__init__()
        self.there, self.new = str(there), str(new)

    def forward(self, x: Tensor) -> Tensor:
        path = self.there if x.shape[0] % 2 == 1 else self.new
        if x.shape[0] <= 2:
            return torch.from_file(path, False, 10, dtype=torch.uint8)
        if x.shape[0] <= 4:
            return torch.from_file(path, True, 10, dtype=torch.uint8).zero_()
        torch.save(x, path)
        return x


def test_a_program_can_neither_read_nor_write_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    there, new = tmp_path / "folder" / "there", tmp_path / "folder" / "new"
    there.write_bytes(b"0123456789")
    with started(Opens(there, new), tmp_path) as program:
        for count in range(1, 7):
            tiles = TILES[:1].repeat(count, 1, 1, 1)
            try:
                answer = program.answer(tiles)
            except SetupError as error:
                assert f"fails on {count} tiles of 8×8" in error.message  # noqa: PT017
            else:
                assert count > 4  # saving does not notice that it cannot
                assert torch.equal(answer, tiles / 255)
    assert there.read_bytes() == b"0123456789"
    assert [child.name for child in (tmp_path / "folder").iterdir()] == ["there"]


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("first\nsecond \x1b[31m" + str([7] * 10_000))


@forked
def test_the_reason_of_a_program_is_one_short_line(tmp_path: Path) -> None:
    message = refusal(Raises(), tmp_path)
    assert "fails on 2 tiles of 8×8" in message
    assert len(message) < 600
    assert message.isprintable()


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@forked
def test_an_answer_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    assert "does not answer with a tensor" in refusal(Pair(), tmp_path)


def with_code(path: Path, code: str) -> Path:
    """The program at `path` with other code in its main file."""
    changed = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as target:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith("test_torchscript.py"):
                data = data[: data.index(b"def forward")] + code.encode()
            target.writestr(name, data)
    path.write_bytes(changed.getvalue())
    return path


@forked
def test_a_program_that_crashes_its_process_is_refused(tmp_path: Path) -> None:
    path = save_script(tmp_path / "program.pt", Means())
    deep = "def forward(self, x: Tensor) -> Tensor:\n    return " + "(" * 1_000_000 + "x" + ")" * 1_000_000 + "\n"
    with_code(path, deep)
    with pytest.raises(SetupError, match="ended its process by SIG") as caught:
        TorchScriptProgram(path.read_bytes(), path, LIMITS)
    assert caught.value.code is ErrorCode.WEIGHTS_INVALID


@forked
@pytest.mark.parametrize("code", ["def forward(self, x", "", "import os\n", "def forward(self) -> int:\n  return 1\n"])
def test_code_that_cannot_be_read_or_run_is_refused(code: str, tmp_path: Path) -> None:
    path = with_code(save_script(tmp_path / "program.pt", Means()), code)
    with pytest.raises(SetupError) as caught, TorchScriptProgram(path.read_bytes(), path, LIMITS) as program:
        program.answer(TILES)
    assert caught.value.code is ErrorCode.WEIGHTS_INVALID


def test_the_child_has_none_of_this_processs_environment_and_no_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    monkeypatch.setenv("SUSY_DATABASE_URL", "postgresql://someone:hunter2@db/susy")
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    with started(Means(), tmp_path) as program:
        (child,) = children()
        assert "hunter2" not in str(child.environ())
        assert set(child.environ()) >= {"PATH", "PYTHONPATH"}
        assert child.rlimit(psutil.RLIMIT_NOFILE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert program.answer(TILES).shape == (2, 2)


def test_a_child_that_is_killed_is_reported(tmp_path: Path, forked_programs: list[ForkedProcess]) -> None:
    with started(Means(), tmp_path) as program:
        (child,) = forked_programs
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(SetupError, match="ended its process by SIGKILL"):
            program.answer(TILES)


def test_a_program_that_is_forgotten_ends_its_process(tmp_path: Path, forked_programs: list[ForkedProcess]) -> None:
    program = started(Means(), tmp_path)
    (child,) = forked_programs
    assert child.poll() is None
    del program
    gc.collect()
    assert child.poll() is not None


def test_a_faulty_installation_is_not_blamed_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_script(tmp_path / "program.pt", Means())
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="did not start: ModuleNotFoundError"):
        TorchScriptProgram(path.read_bytes(), path, LIMITS)
