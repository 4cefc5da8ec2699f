"""What happens after each iteration of learning: writing metrics, showing progress, saving."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mprl.agents.agent import Agent, Callback, Metrics
from mprl.agents.checkpoints import write_atomically
from mprl.agents.evaluation import evaluate, quiet, score
from mprl.agents.runs import BEST, save_checkpoint
from mprl.errors import CheckpointError

_IDENTITY = ("num_timesteps", "seed", "episodes")


class RunWriter:
    """Writes every iteration's metrics to `metrics.csv` and TensorBoard events in a run folder.

    Args:
        folder: the run folder; made if missing. A table that is there is continued.
        timesteps: where the run goes on from. Rows of later iterations, which a killed process left behind, are removed: they will
            come again.
    """

    def __init__(self, folder: str | Path, timesteps: float = math.inf) -> None:
        self.folder = Path(folder)
        self._path = self.folder / "metrics.csv"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = self._path.read_bytes() if self._path.is_file() else b""
            # of a process killed while it wrote there may be half a line
            lines = [line for line in found.splitlines(keepends=True) if line.endswith(b"\n")]
            self._columns = lines[0].decode().rstrip("\r\n").split(",") if lines else []
            at = self._columns.index("timesteps") if lines else 0
            kept = b"".join((*lines[:1], *(row for row in lines[1:] if float(row.split(b",")[at]) <= timesteps)))
            if kept != found:
                write_atomically(self._path, kept)
            self._file = self._path.open("a", newline="", encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
        except (ValueError, IndexError) as error:  # a UnicodeDecodeError is one too
            raise CheckpointError(f"{self._path}: expected a table of numbers: {' '.join(str(error).split())[:120]}") from None
        from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

        purge = int(timesteps) + 1 if math.isfinite(timesteps) else None
        self._board = SummaryWriter(str(self.folder), max_queue=1000, flush_secs=20, purge_step=purge)

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        try:
            new = [key for key in metrics if key not in self._columns]
            if new:
                self._widen(new)
            csv.writer(self._file).writerow([_cell(metrics.get(key, math.nan)) for key in self._columns])
            self._file.flush()
            for key, value in metrics.items():
                self._board.add_scalar(_board_name(key), value, int(metrics["timesteps"]))
        except OSError as error:
            raise CheckpointError(f"{self.folder}: metrics cannot be written: {error.strerror}") from None

    def _widen(self, new: list[str]) -> None:
        """A heading with more columns, and rows that lack them filled up."""
        self._columns += new
        heading = io.StringIO(newline="")
        csv.writer(heading).writerow(self._columns)
        if len(self._columns) == len(new):
            self._file.write(heading.getvalue())
            return
        rows = self._path.read_bytes().splitlines()[1:]
        filled = [row + b",nan" * len(new) + b"\r\n" for row in rows]
        write_atomically(self._path, b"".join((heading.getvalue().encode(), *filled)))
        self._file.close()
        self._file = self._path.open("a", newline="", encoding="utf-8")

    def close(self) -> None:
        """Finish the files."""
        self._file.close()
        self._board.close()


def _cell(value: float) -> str:
    """Whole numbers whole, however large, so that rows can be told apart by their steps."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 2**53 else f"{value:.10g}"


def _board_name(key: str) -> str:
    """Group the scalars: what the environment reports, wall-clock figures, the rest."""
    group, _, rest = key.partition("_")
    return f"{group}/{rest}" if group in ("env", "evaluation", "time") and rest else f"train/{key}"


class Checkpoint:
    """Saves a run so that it can go on exactly: checkpoints on a schedule of steps, the last few kept (`agents/runs.py`).

    By steps and not by the clock, because an environment that cannot be saved is reset at each checkpoint: only so does it happen at
    the same moments in a run that was interrupted and in one that was not.

    Args:
        folder: the run folder.
        every: steps between checkpoints.
        keep: how many are kept.
    """

    def __init__(self, folder: str | Path, every: int = 100_000, keep: int = 3) -> None:
        self.folder, self.every, self.keep = Path(folder), every, keep

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        if agent.crossed(self.every):
            save_checkpoint(agent, self.folder, self.keep)

    def finish(self, agent: Agent) -> None:
        """Save once more, at whatever moment learning ended. Where that would reset the environment only the agent is saved."""
        if agent.batch.has_state and not agent.crossed(self.every):
            save_checkpoint(agent, self.folder, self.keep)
        else:
            agent.save(self.folder)


class Evaluation:
    """Measures the agent on a schedule of steps, adds what it finds to the metrics as `evaluation_…`, and keeps the best agent.

    Each time in a new environment with the same seed, and without exploration: learning goes on as if nothing had happened. The score
    is the normalised return where the environment gives one, else the mean return. `best/` is an agent's folder with an
    `score.json` beside it.

    Args:
        folder: the run folder.
        make_env: makes the environment to measure in.
        every: steps between evaluations; 0: none.
        episodes: of each evaluation.
        seed: of its environment.
    """

    def __init__(self, folder: str | Path, make_env: Callable[[], Any], every: int, episodes: int = 16, seed: int = 0) -> None:
        self.folder, self.make_env, self.every, self.episodes, self.seed = Path(folder) / BEST, make_env, every, episodes, seed

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        if not agent.crossed(self.every):
            return
        with quiet():
            env = self.make_env()
            try:
                results = evaluate(agent, env, self.episodes, self.seed)
            finally:
                env.close()
        numbers = {key: float(value) for key, value in results.items() if isinstance(value, int | float) and key not in _IDENTITY}
        metrics |= {f"evaluation_{key}": value for key, value in numbers.items()}
        found = score(numbers)
        if found > self._best():
            agent.save(self.folder)
            finite = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
            content = {"score": found, "num_timesteps": agent.num_timesteps, "episodes": self.episodes, "seed": self.seed, **finite}
            write_atomically(self.folder / "score.json", json.dumps(content, indent=2).encode())

    def _best(self) -> float:
        try:
            return float(json.loads((self.folder / "score.json").read_text())["score"])
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or none that counts
            return -math.inf


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
