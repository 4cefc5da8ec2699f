"""A run on disk, and how it goes on after its process has ended, however that ended.

    runs/walk/
      config.json, weights.safetensors     the agent, as of the last checkpoint: what `mprl evaluate runs/walk` measures
      run.json                             what was asked for: the goal, and how often to save and to evaluate
      metrics.csv, events.*                every iteration
      checkpoints/step_000500000/          the last few moments that learning can go on from, each a whole agent
      best/                                the agent that was best in the evaluations, and how good it was
      videos/step_000500000.mp4            an episode as the agent played it then, where films are asked for

A checkpoint appears whole or not at all: it is written under another name and renamed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mprl import files
from mprl.agents import checkpoints
from mprl.agents.agent import Agent
from mprl.errors import CheckpointError, SettingError

CHECKPOINTS, BEST, PLAN = "checkpoints", "best", "run.json"
_STEP = "step_"


@dataclass(frozen=True)
class Plan:
    """What a run is to do. Steps are environment steps over all worlds.

    All but the end goes by steps, so that a run does the same on a fast and on a slow machine.
    """

    steps: float | None = None
    """Ends when so many are learned from."""
    minutes: float | None = None
    """Or ends when so much time was spent on learning."""
    checkpoint_every: int = 100_000
    """Steps between checkpoints."""
    keep_checkpoints: int = 3
    """How many checkpoints are kept."""
    evaluate_every: int = 0
    """Steps between evaluations, which choose the best agent; 0: none."""
    stop_at: float | None = None
    """Ends early when an evaluation reaches this score."""
    patience: int = 0
    """Ends early when so many evaluations in a row bring nothing better; 0: never."""
    video_every: int = 0
    """Steps between films of an episode; 0: none."""
    ended_steps: int = 0
    """How far it came when it last came to its end,"""
    ended_seconds: float = 0.0
    """and how much time it had spent on learning."""
    job: str = ""
    """Of several processes: what torchrun was told to do, so that it finds the run when it starts them anew."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise SettingError("a run ends after a number of steps or of minutes: give one of both")
        for name in ("steps", "minutes"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise SettingError(f"{name} must be a positive number, found {value:g}")
        for name, least in (("checkpoint_every", 1), ("keep_checkpoints", 1), ("evaluate_every", 0), ("patience", 0), ("video_every", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"{name} must be at least {least}, found {getattr(self, name)}")

        if self.stop_at is not None and not math.isfinite(self.stop_at):
            raise SettingError(f"stop_at must be a finite number, found {self.stop_at:g}")
        if self.ends_early and not self.evaluate_every:
            raise SettingError("a run ends early by what its evaluations say: give evaluate_every too, the steps between them")

    @property
    def ends_early(self) -> bool:
        """Whether evaluations may end it."""
        return self.stop_at is not None or self.patience > 0

    def is_over(self, steps: int, seconds: float) -> bool:
        """Whether so many steps or so much time are its end."""
        return steps >= (self.steps or math.inf) or seconds >= 60.0 * (self.minutes or math.inf)

    def write(self, folder: Path) -> None:
        """Into a run folder, which is made if missing."""
        content = {"format": "mprl-run", "version": files.VERSION, **dataclasses.asdict(self)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files.write_atomically(folder / PLAN, json.dumps(content, indent=2).encode())
        except OSError as error:
            raise CheckpointError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """What `write` wrote.

        Raises:
            CheckpointError: missing or broken.
        """
        path = folder / PLAN
        if not path.is_file():
            raise CheckpointError(f"{folder}: holds no run of mprl train ({PLAN} is missing)")
        content = files.read_json(path, "mprl-run", "a run of mprl")
        try:
            # one that an earlier version wrote has fewer of them
            return cls(**{field.name: content[field.name] for field in dataclasses.fields(cls) if field.name in content})
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: not what a run can do: {' '.join(str(error).split())[:120]}") from None


def steps_of(checkpoint: Path) -> int:
    """How many steps had been learned from; -1 if this is no checkpoint's name."""
    number = checkpoint.name.removeprefix(_STEP)
    return int(number) if checkpoint.name.startswith(_STEP) and number.isdecimal() else -1


def checkpoints_of(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = (run / CHECKPOINTS).iterdir() if (run / CHECKPOINTS).is_dir() else iter(())
    return sorted((path for path in found if steps_of(path) >= 0 and path.is_dir()), key=steps_of)


def newest(folder: Path) -> tuple[Path, Path]:
    """The run and its checkpoint that a folder means: a run folder and its last checkpoint, or a checkpoint and its run.

    Raises:
        CheckpointError: there is no such folder, or no checkpoint in it.
    """
    folder = Path(os.path.normpath(folder))
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: {'expected a run folder, found a file' if folder.exists() else 'no such run folder'}")
    if steps_of(folder) >= 0 and folder.absolute().parent.name == CHECKPOINTS:
        return folder.parent.parent, folder
    found = checkpoints_of(folder)
    if not found:
        raise CheckpointError(f"{folder}: holds no checkpoint to go on from ({CHECKPOINTS}/{_STEP}... is missing); begin the run anew")
    return folder, found[-1]


def save_checkpoint(agent: Agent, run: Path, keep: int) -> Path:
    """Write a checkpoint, make the run folder's own agent that of now, and remove all but the last `keep` checkpoints.

    Of several processes all call it, and the first one writes.

    Raises:
        CheckpointError: a folder or file cannot be written.
    """
    inside = run / CHECKPOINTS
    target = inside / f"{_STEP}{agent.num_timesteps:09d}"
    if agent.ranks.rank:
        agent.save(target, training=True)
        return target
    try:
        inside.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=inside, prefix=f".{target.name}."))
        temporary.chmod(0o755)
        agent.save(temporary, training=True)
        _to_disk(run / "metrics.csv")  # its rows up to here before what they led to
        if target.exists():
            remove(target)
        os.replace(temporary, target)
        _to_disk(inside)
    except OSError as error:
        raise CheckpointError(f"{error.filename or target}: cannot be written: {error.strerror or error}") from None
    agent.save(run)
    for old in checkpoints_of(run)[:-keep]:
        remove(old)
    tidy(run)
    return target


@contextlib.contextmanager
def alone(run: Path) -> Iterator[None]:
    """Within, no other process can train in this run folder. The lock ends with the process, however that ends.

    Raises:
        CheckpointError: another one does already.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (run / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{run}: another process is training in this run folder; stop it first") from None
        except OSError:  # a file system without locks
            pass
        yield


def tidy(run: Path) -> None:
    """Remove what killed processes left half written, which has names with a dot in front."""
    for scrap in (run / CHECKPOINTS).glob(f".{_STEP}*"):
        shutil.rmtree(scrap, ignore_errors=True)
    for folder in (run, run / BEST):
        for name in (checkpoints.CONFIG, checkpoints.WEIGHTS, PLAN, "metrics.csv", "score.json"):
            for scrap in folder.glob(f".{name}.*"):
                scrap.unlink(missing_ok=True)


def remove(checkpoint: Path) -> None:
    """First out of sight, so that a kill leaves no half of a checkpoint under its name."""
    aside = Path(tempfile.mkdtemp(dir=checkpoint.parent, prefix=f".{checkpoint.name}."))
    os.replace(checkpoint, aside / "old")
    shutil.rmtree(aside, ignore_errors=True)


def _to_disk(path: Path) -> None:
    with contextlib.suppress(OSError):  # no metrics yet; and Windows does not open folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
