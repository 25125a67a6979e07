"""Where a run can be followed: the terminal, a table, and TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from worker.errors import printable
from worker.files import write_atomically
from worker.lab.dataset.parallel import progress_bar
from worker.lab.training.run import Epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Terminal:
    """Messages on stderr: one line per epoch, and a progress bar if stderr is a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)

    def print(self, text: str) -> None:
        """Print one line."""
        self._console.print(printable(text), markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, description: str, total: int, completed: int) -> Iterator[Callable[[], None]]:
        """A bar of `total` steps; the function that is yielded advances it by one."""
        with progress_bar(self._console, transient=True) as bar:
            task = bar.add_task(description, total=total, completed=completed)
            yield lambda: bar.advance(task)


class Logs:
    """`metrics.csv`, which has exactly the epochs of the latest checkpoint, and TensorBoard's files.

    With `enabled` false, nothing is written: one process of several writes.
    """

    def __init__(self, out: Path, history: Sequence[Epoch], terminal: Terminal, *, enabled: bool = True) -> None:
        self._table = out / "metrics.csv"
        self._enabled = enabled
        self._board = _tensorboard(out / "tensorboard", len(history), terminal) if enabled else None
        if history:
            self._write_table(history)

    def write(self, history: Sequence[Epoch]) -> None:
        """Log the last epoch of `history`, which has all finished epochs."""
        self._write_table(history)
        if self._board is not None:
            figures = asdict(history[-1])
            number = figures.pop("epoch")
            for name, value in figures.items():
                if value is not None:
                    self._board.add_scalar(name, value, number)
            self._board.flush()

    def close(self) -> None:
        """Finish TensorBoard's files."""
        if self._board is not None:
            self._board.close()

    def _write_table(self, history: Sequence[Epoch]) -> None:
        if not self._enabled:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in history)
        write_atomically(self._table, text.getvalue().encode())


def summary_line(epoch: Epoch) -> str:
    """An epoch's figures in one line."""
    energy = "" if epoch.energy_kwh is None else f", {epoch.energy_kwh:.3g} kWh so far"
    return (
        f"epoch {epoch.epoch}: loss {epoch.train_loss:.4f}, validation {epoch.loss:.4f}, accuracy "
        f"{epoch.accuracy:.3f}, detection F1 {epoch.detection_f1:.3f}, {epoch.seconds:.0f} s{energy}"
    )


def _tensorboard(folder: Path, finished: int, terminal: Terminal) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        terminal.print("no TensorBoard files: they need pip install 'susy-worker[train]'; metrics.csv has all figures")
        return None
    # Hides what an interrupted run logged after its checkpoint.
    return SummaryWriter(folder, purge_step=finished + 1)
