"""Where a run can be watched: a table, TensorBoard, and the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worker.files import write_atomically
from worker.lab.training.epoch import Epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Terminal:
    """What a person sees, on stderr: one line an epoch, and a bar while somebody watches."""

    def __init__(self, speaks: bool) -> None:
        self._console = Console(stderr=True, quiet=not speaks, highlight=False)

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, description: str, total: int, done: int) -> Iterator[Callable[[], None]]:
        """A bar of `total` steps, `done` of which are done; what is yielded advances it by one."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        hidden = not self._console.is_terminal
        with Progress(*columns, *times, console=self._console, disable=hidden, transient=True) as bar:
            task = bar.add_task(description, total=total, completed=done)
            yield lambda: bar.advance(task)


class Logs:
    """`metrics.csv`, which always has exactly the epochs of the latest checkpoint, and TensorBoard's files."""

    def __init__(self, out: Path, finished: Sequence[Epoch], terminal: Terminal, *, writes: bool = True) -> None:
        self._table = out / "metrics.csv"
        self._writes = writes
        self._board = _tensorboard(out / "tensorboard", len(finished), terminal) if writes else None
        if finished:
            self._write_table(finished)

    def write(self, finished: Sequence[Epoch]) -> None:
        """Log the last epoch of a run, given all of them."""
        self._write_table(finished)
        if self._board is not None:
            epoch = asdict(finished[-1])
            number = epoch.pop("epoch")
            for name, value in epoch.items():
                if value is not None:
                    self._board.add_scalar(name, value, number)
            self._board.flush()

    def close(self) -> None:
        """Finish TensorBoard's files."""
        if self._board is not None:
            self._board.close()

    def _write_table(self, finished: Sequence[Epoch]) -> None:
        if not self._writes:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in finished)
        write_atomically(self._table, text.getvalue().encode())


def line(epoch: Epoch) -> str:
    """An epoch as people read it."""
    energy = "" if epoch.energy_kwh is None else f", {epoch.energy_kwh:.3g} kWh so far"
    return (
        f"epoch {epoch.epoch}: loss {epoch.train_loss:.4f}, validation {epoch.loss:.4f}, accuracy "
        f"{epoch.accuracy:.3f}, detection F1 {epoch.detection_f1:.3f}, {epoch.seconds:.0f} s{energy}"
    )


def _tensorboard(folder: Path, finished: int, terminal: Terminal) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        terminal.say("no TensorBoard files: pip install 'susy-worker[train]' for them; metrics.csv has all figures")
        return None
    # What a run that was stopped logged after its checkpoint is not shown.
    return SummaryWriter(folder, purge_step=finished + 1)
