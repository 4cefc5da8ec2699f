"""What happens after each iteration of learning: writing metrics, showing progress, saving."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mprl.agents.agent import Agent, Callback, Metrics
from mprl.errors import CheckpointError


class RunWriter:
    """Writes every iteration's metrics to `metrics.csv` and TensorBoard events in a run folder.

    Args:
        folder: the run folder; made if missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / "metrics.csv").open("a", newline="", encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
        self._columns: list[str] | None = None
        from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

        self._board = SummaryWriter(str(self.folder), max_queue=1000, flush_secs=20)

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        try:
            if self._columns is None:
                self._columns = list(metrics)
                if self._file.tell() == 0:
                    csv.writer(self._file).writerow(self._columns)
            csv.writer(self._file).writerow([f"{metrics.get(key, math.nan):.10g}" for key in self._columns])
            self._file.flush()
            for key, value in metrics.items():
                self._board.add_scalar(_board_name(key), value, int(metrics["timesteps"]))
        except OSError as error:
            raise CheckpointError(f"{self.folder}: metrics cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Finish the files."""
        self._file.close()
        self._board.close()


def _board_name(key: str) -> str:
    """Group the scalars: what the environment reports, wall-clock figures, the rest."""
    group, _, rest = key.partition("_")
    return f"{group}/{rest}" if group in ("env", "time") and rest else f"train/{key}"


class Checkpoint:
    """Saves the agent into a folder every so often, and when learning ends.

    Args:
        folder: the run folder.
        every: seconds between saves.
    """

    def __init__(self, folder: str | Path, every: float = 60.0) -> None:
        self.folder, self.every = Path(folder), every
        self._next = time.monotonic() + every

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        if time.monotonic() >= self._next:
            agent.save(self.folder)
            self._next = time.monotonic() + self.every


def all_of(*callbacks: Callable[[Agent, Metrics], Any]) -> Callback:
    """One callback that calls several, and stops learning when any of them returns False."""

    def call(agent: Agent, metrics: Metrics) -> bool:
        return not any([callback(agent, metrics) is False for callback in callbacks])  # noqa: C419  every one is called

    return call


class ProgressDisplay:
    """A live display of learning: a bar, time left, samples per second, return, tracking error, episode length.

    Two lines, so that it fits a terminal of 80 columns. Where the output is no terminal, a line every half minute instead.

    Args:
        total_timesteps: at which learning ends, if steps end it.
        max_seconds: after which learning ends, if time ends it.
        timesteps, seconds: where it began.
    """

    _SHOWN = (
        ("return", "return {:.1f}", 1.0),
        ("episode_length", "length {:.0f}", 1.0),
        ("env_local_tracking_error", "error {:.0f} mm", 1e3),
        ("time_samples_per_second", "{:,.0f} samples/s", 1.0),
    )
    _LINE_EVERY = 30.0  # s

    def __init__(self, total_timesteps: float | None, max_seconds: float | None, timesteps: float = 0.0, seconds: float = 0.0) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.text import Text

        self._total, self._seconds = total_timesteps, max_seconds
        self._began = timesteps, seconds
        self._next_line = 0.0
        columns = (TextColumn("{task.percentage:>3.0f} %"), BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self._progress = Progress(*columns)
        self._task = self._progress.add_task("", total=1.0, left="")
        self._numbers = Text("first iteration …", no_wrap=True, overflow="ellipsis")
        console = Console()
        self._live = Live(Group(self._progress, self._numbers), console=console, refresh_per_second=2) if console.is_terminal else None
        if self._live is not None:
            self._live.start()

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        steps, start = metrics["timesteps"], self._began[0]
        elapsed = metrics["time_elapsed"] - self._began[1]
        share = [0.0]
        if self._total is not None and math.isfinite(self._total):
            share.append((steps - start) / max(self._total - start, 1.0))
        if self._seconds is not None:
            share.append(elapsed / self._seconds)
        done = min(max(share), 1.0)
        left = elapsed * (1 - done) / done if done > 0 else math.nan
        left_text = f"{int(left // 60)}:{int(left % 60):02d} left" if 0 < done < 1 else ""
        shown = [form.format(metrics[key] * unit) for key, form, unit in self._SHOWN if key in metrics]
        self._numbers.plain = " · ".join([f"{steps / 1e6:.2f} M steps", *shown])
        self._progress.update(self._task, completed=done, left=left_text)
        if self._live is None and elapsed >= self._next_line:
            self._next_line = elapsed + self._LINE_EVERY
            print(f"{done:4.0%}  {self._numbers.plain}  {left_text}", flush=True)

    def close(self) -> None:
        """Leave the last state on the terminal."""
        if self._live is not None:
            self._live.stop()
