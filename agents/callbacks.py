"""What happens after each iteration of learning: writing metrics, saving, evaluating, filming, ending early."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mprl.agents.agent import Agent, Callback, Metrics, stops
from mprl.agents.evaluation import evaluate, quiet, score
from mprl.agents.runs import BEST, save_checkpoint
from mprl.errors import CheckpointError, SettingError
from mprl.files import write_atomically

log = logging.getLogger(__name__)

_EVALUATION = "evaluation_"
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
    is the normalised return where the environment gives one, else the mean return. `best/` is an agent's folder with a
    `score.json` in it.

    Args:
        folder: the run folder.
        make_env: makes the environment to measure in.
        every: steps between evaluations; 0: none.
        episodes: of each evaluation.
        seed: of its environment.
    """

    def __init__(self, folder: str | Path, make_env: Callable[[], Any], every: int, episodes: int = 16, seed: int = 0) -> None:
        self.folder, self.make_env, self.every, self.episodes, self.seed = Path(folder) / BEST, make_env, every, episodes, seed
        self._told = False

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        if not agent.crossed(self.every):
            return
        with quiet():
            env = self.make_env()
            try:
                results = evaluate(agent, env, self.episodes, self.seed)
            finally:
                env.close()
        if "episodes_cut_off" in results and not self._told:
            log.info("An evaluation cut episodes off that did not end; how many is told as evaluation_episodes_cut_off.")
            self._told = True
        numbers = {key: float(value) for key, value in results.items() if isinstance(value, int | float) and key not in _IDENTITY}
        metrics |= {f"{_EVALUATION}{key}": value for key, value in numbers.items()}
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


class StopTraining:
    """Ends learning by what the evaluations say. It comes after `Evaluation` among the callbacks.

    Args:
        score: learning ends when an evaluation reaches it; None: no score is enough.
        patience: learning ends when so many evaluations in a row were no better than the best before them; 0: never.
        folder: the run folder of a run that goes on: its `metrics.csv` tells how the evaluations before went.
        timesteps: where it goes on from; later rows do not count.

    Attributes:
        scores: of the evaluations, in turn, with the digits that the table keeps.
    """

    def __init__(
        self, score: float | None = None, patience: int = 0, folder: str | Path | None = None, timesteps: float = math.inf
    ) -> None:
        if score is not None and math.isnan(score):
            raise SettingError("the score to stop at must be a number, found nan")
        if patience < 0:
            raise SettingError(f"patience must be at least 0, found {patience}")
        self.score, self.patience = score, patience
        is_asked_for = score is not None or patience > 0
        self.scores = _evaluations(Path(folder) / "metrics.csv", timesteps) if folder is not None and is_asked_for else []

    @property
    def reason(self) -> str:
        """Why learning is over, '' while it is not."""
        best = max(self.scores, default=-math.inf)
        if self.score is not None and best >= self.score:
            return f"an evaluation gave {best:g}, {self.score:g} was asked for"
        if self.patience and self.scores and len(self.scores) - 1 - self.scores.index(best) >= self.patience:
            return f"the last {self.patience} evaluations were no better than the best before them, {best:g}"
        return ""

    def __call__(self, agent: Agent, metrics: Metrics) -> bool | None:
        found = {key.removeprefix(_EVALUATION): value for key, value in metrics.items() if key.startswith(_EVALUATION)}
        if not found:
            return None
        self.scores.append(float(_cell(score(found))))
        if not self.reason:
            return None
        log.info("Learning ends after %s steps: %s.", f"{agent.num_timesteps:,}", self.reason)
        return False


def _evaluations(table: Path, timesteps: float) -> list[float]:
    """Scores of the evaluations in a run's table of metrics, until so many steps. Of a killed process there may be half a row after."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            whole = [line for line in file if line.endswith("\n")]
        rows = [row for row in csv.DictReader(whole) if float(row["timesteps"]) <= timesteps]
        columns = [key for key in (rows[0] if rows else ()) if str(key).startswith(_EVALUATION)]
        found = [score({key.removeprefix(_EVALUATION): float(row[key]) for key in columns}) for row in rows] if columns else []
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise CheckpointError(f"{table}: expected a table of numbers: {' '.join(str(error).split())[:120]}") from None
    return [value for value in found if not math.isnan(value)]


class Video:
    """Films an episode without exploration on a schedule of steps; learning goes on as if nothing had happened.

    Args:
        folder: where the films go, as step_000100000.mp4; made if missing.
        make_env: makes the environment to film; others than ours with `render_mode="rgb_array"`. No display is needed.
        every: steps between films; 0: none.
        seed: of the environment.
    """

    def __init__(self, folder: str | Path, make_env: Callable[[], Any], every: int, seed: int = 0) -> None:
        self.folder, self.make_env, self.every, self.seed = Path(folder), make_env, every, seed

    def __call__(self, agent: Agent, metrics: Metrics) -> None:
        if agent.crossed(self.every):
            self.film(agent)

    def film(self, agent: Agent) -> None:
        """An episode as the agent plays it now.

        Raises:
            RenderingError: the environment draws nothing here.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self.folder}: cannot be made: {error.strerror}") from None
        with quiet():
            env = self.make_env()
            try:
                evaluate(agent, env, 1, self.seed, self.folder / f"step_{agent.num_timesteps:09d}.mp4")
            finally:
                env.close()


def all_of(*callbacks: Callable[[Agent, Metrics], Any]) -> Callback:
    """One callback that calls several, and stops learning when any of them returns False."""

    def call(agent: Agent, metrics: Metrics) -> bool:
        return not any([stops(callback(agent, metrics)) for callback in callbacks])  # noqa: C419  every one is called

    return call
