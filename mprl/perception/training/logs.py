"""What a training run leaves to look at: `metrics.csv`, TensorBoard's scalars and pictures, a display while it goes on."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from mprl.errors import CheckpointError
from mprl.files import write_atomically

Row = dict[str, float]


class Writer:
    """Writes each epoch's metrics into a folder.

    Args:
        folder: made if missing.
        purge: the update after which TensorBoard forgets what an earlier process wrote.
    """

    def __init__(self, folder: Path, purge: int) -> None:
        self.path = folder / "metrics.csv"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{folder}: cannot be written: {error.strerror or error}") from None
        from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

        self._board = SummaryWriter(str(folder), flush_secs=20, purge_step=purge + 1 if purge else None)

    def __call__(self, history: list[Row], pictures: dict[str, Tensor]) -> None:
        """All epochs so far, and pictures (B, 3, H, W) of the last."""
        columns = list(dict.fromkeys(key for row in history for key in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns, restval="nan")
        writer.writeheader()
        writer.writerows(history)
        try:
            write_atomically(self.path, table.getvalue().encode())
            updates = int(history[-1]["updates"])
            for key, value in history[-1].items():
                group, _, rest = key.partition("_")
                name = f"{group}/{rest}" if group in ("validation", "time") and rest else f"train/{key}"
                self._board.add_scalar(name, value, updates)
            for key, images in pictures.items():
                self._board.add_images(key, images, updates)
        except OSError as error:
            raise CheckpointError(f"{self.path.parent}: metrics cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Finish the files."""
        self._board.close()


class Display:
    """A bar over all epochs with the last losses; where the output is no terminal, a line every half minute."""

    _LINE_EVERY = 30.0  # s

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.percentage:>3.0f} %"), BarColumn(bar_width=24), TimeElapsedColumn(), TimeRemainingColumn())
        console = Console()
        self._progress = Progress(*columns, TextColumn("{task.fields[shown]}"), console=console, refresh_per_second=4)
        self._task = self._progress.add_task("", total=float(epochs), shown="first epoch …")
        self._is_live, self._next_line = console.is_terminal, time.monotonic()
        if self._is_live:
            self._progress.start()

    def __call__(self, epochs: float, row: Row) -> None:
        """So many epochs are done, of which this is the last row of metrics."""
        names = ("loss", "validation_loss", "validation_mse", "validation_perplexity")
        shown = f"epoch {int(epochs)}" + "".join(f" · {name.replace('_', ' ')} {row[name]:.4g}" for name in names if name in row)
        self._progress.update(self._task, completed=epochs, shown=shown)
        if not self._is_live and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._LINE_EVERY
            print(shown, flush=True)

    def close(self) -> None:
        """Leave the last state on the terminal."""
        if self._is_live:
            self._progress.stop()


def pictures(network: Any, batch: dict[str, Tensor], most: int = 8) -> dict[str, Tensor]:
    """What a network has to show of a batch of images; nothing of other observations."""
    if not hasattr(network, "pictures") or batch["input"].ndim != 4:
        return {}
    network.eval()
    return {name: images.detach().cpu() for name, images in network.pictures({key: value[:most] for key, value in batch.items()}).items()}
