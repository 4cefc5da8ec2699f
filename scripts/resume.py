"""`mprl train --resume DIR`: go on with a run as if it had never stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mprl import torchrun
from mprl.errors import CheckpointError, SettingError
from mprl.scripts import environments, evaluate, train
from mprl.scripts.options import parse

if TYPE_CHECKING:
    from mprl.agents.agent import Agent
    from mprl.agents.runs import Plan
    from mprl.ranks import Ranks

LESSON = "distillation.json"  # in a run folder of `mprl distill`
_OPTIONS = ("--resume", "--steps", "--minutes", "--stop-at", "--patience")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be told to a run that goes on: where it is, and its new end."""

    resume: Path
    steps: float | None = None
    minutes: float | None = None
    stop_at: float | None = None
    patience: int | None = None


def is_asked_for(words: Sequence[str]) -> bool:
    """Whether a command line of `mprl train` is one to go on."""
    return any(word.partition("=")[0] == "--resume" for word in words) and not {"-h", "--help"} & set(words)


def main(argv: Sequence[str], ranks: Ranks) -> int:
    """Run `mprl train --resume`."""
    with ranks.agreed():
        for at, word in enumerate(argv):
            option, is_value = word.partition("=")[0], at > 0 and argv[at - 1] in _OPTIONS
            if option not in _OPTIONS and not is_value:
                raise SettingError(
                    f"{option} cannot be given with --resume: the run goes on as it was begun; only {', '.join(_OPTIONS[1:])} can"
                )
        options = parse(Options, "mprl train", argv)
        train.check_end(options)
    return resume(options.resume, ranks, options.steps, options.minutes, options.stop_at, options.patience)


def is_of(job: str, folder: Path) -> bool:
    """Whether a folder holds a run of this job (`train.job`)."""
    from mprl.agents import runs

    return bool(job) and (folder / runs.PLAN).is_file() and runs.Plan.read(folder).job == job


def can_go_on(run: Path) -> bool:
    """Whether a run has a checkpoint yet."""
    from mprl.agents import runs

    return bool(runs.checkpoints_of(run))


def resume(
    folder: Path,
    ranks: Ranks | None = None,
    steps: float | None = None,
    minutes: float | None = None,
    stop_at: float | None = None,
    patience: int | None = None,
    load: Callable[..., Agent] | None = None,
    command: str = "mprl train",
) -> int:
    """Go on with a run.

    Of several processes the first one reads the run folder, and gives the others what they need of it.

    Args:
        folder: of the run, or one of its checkpoints; later checkpoints are then removed.
        ranks: the processes that go on with it; by default this one alone.
        steps, minutes: the run's new end, counted from its beginning; by default it keeps the one it has.
        stop_at: the score at which it now ends early; inf: at none.
        patience: after how many evaluations that bring nothing better it now ends early; 0: never.
        load: reads the agent, as `mprl.agents.load_agent`, which is the default.
        command: to go on with it once more.

    Returns:
        Exit code, as `train.train`.

    Raises:
        MprlError: no run, a broken one, or one that has come to its end.
    """
    from mprl.agents import runs
    from mprl.ranks import ALONE

    ranks = ranks or ALONE
    with contextlib.ExitStack() as stack:
        run, checkpoint, plan = folder, folder, runs.Plan(steps=1)
        with ranks.agreed():
            if ranks.rank == 0:
                run, checkpoint = runs.newest(folder)
                plan = _with_end(runs.Plan.read(run), steps, minutes, stop_at, patience)
                stack.enter_context(runs.alone(run))
        if ranks.size > 1:
            plan, run = runs.Plan(**ranks.tell(dataclasses.asdict(plan))), Path(ranks.tell(str(run)))
            checkpoint = stack.enter_context(_handed_out(checkpoint, ranks))
        with ranks.agreed():
            try:
                agent = _load(checkpoint, ranks, load)
            except CheckpointError as error:
                raise CheckpointError(f"{error}{_the_one_before(run, checkpoint, command) if ranks.rank == 0 else ''}") from None
            if ranks.rank == 0:
                _check_that_it_goes_on(agent, run, checkpoint, plan)
                for later in runs.checkpoints_of(run):
                    if runs.steps_of(later) > agent.num_timesteps:
                        runs.remove(later)
                runs.tidy(run)
    ranks.require_same(train.told(agent, plan))
    if ranks.rank == 0:
        print(f"Going on from step {agent.num_timesteps:,}, in {run}.")
        if load is None and (run / LESSON).is_file():
            print(f"It learns with PPO from here; to be taught on: mprl distill --resume {folder}")
    ended = train.train(agent, run, plan, command)
    if ranks.rank == 0:
        train.summarise(agent, run)
    return ended


def _with_end(plan: Plan, steps: float | None, minutes: float | None, stop_at: float | None, patience: int | None) -> Plan:
    """A plan with the end that is now asked for."""
    if steps is not None or minutes is not None:
        plan = dataclasses.replace(plan, steps=steps, minutes=minutes)
    if stop_at is not None:
        plan = dataclasses.replace(plan, stop_at=None if stop_at == math.inf else stop_at)
    if patience is not None:
        plan = dataclasses.replace(plan, patience=patience)
    return plan


def _check_that_it_goes_on(agent: Agent, run: Path, checkpoint: Path, plan: Plan) -> None:
    """Raise a `SettingError` where the run has come to its end."""
    from mprl.agents import runs
    from mprl.agents.callbacks import StopTraining

    is_newest = checkpoint == runs.checkpoints_of(run)[-1]
    if (is_newest and plan.is_over(plan.ended_steps, plan.ended_seconds)) or plan.is_over(agent.num_timesteps, agent.seconds):
        raise SettingError(f"{run}: the run has come to its end; give it a new one with --steps or --minutes")
    came_to = max(agent.num_timesteps, plan.ended_steps if is_newest else 0)
    early = StopTraining(plan.stop_at, plan.patience, run, came_to).reason
    if early:
        raise SettingError(f"{run}: the run ended early: {early}; to go on give another --stop-at (inf: none) or --patience (0: none)")


@contextlib.contextmanager
def _handed_out(checkpoint: Path, ranks: Ranks) -> Iterator[Path]:
    """A folder with what this rank needs of a checkpoint: the checkpoint itself on rank 0, a copy for the time being elsewhere."""
    import safetensors.torch
    import torch

    from mprl.agents.checkpoints import CONFIG, STATE, TRAINING, WEIGHTS, of_rank
    from mprl.files import tensor_chunks

    def needs(rank: int) -> bytes:
        paths = (checkpoint / name for name in (CONFIG, WEIGHTS, STATE, TRAINING, of_rank(rank)))
        found = {path.name: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths if path.is_file()}
        return b"".join(tensor_chunks(found))

    given = ranks.hand_out(needs(rank) for rank in range(1, ranks.size))
    if ranks.rank == 0:
        yield checkpoint
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, content in safetensors.torch.load(given).items():
            (Path(folder) / name).write_bytes(content.numpy().tobytes())
        yield Path(folder)


def _load(checkpoint: Path, ranks: Ranks, load: Callable[..., Agent] | None) -> Agent:
    """The agent of a checkpoint, in an environment and with threads like those it learned with."""
    import torch

    from mprl.agents import load_agent
    from mprl.agents.checkpoints import TRAINING, read_config, read_training

    config, training = read_config(checkpoint), read_training(checkpoint, ranks.rank)
    if training is None:
        raise CheckpointError(f"{checkpoint}: holds no state of learning ({TRAINING} is missing)")
    torch.set_num_threads(training[1]["torch_threads"])  # sums of floats depend on how many there are
    train.check_device(training[1]["device"])
    device = torchrun.own_device(training[1]["device"]) or "cpu"
    if config["num_envs"] < ranks.size:
        raise SettingError(f"{checkpoint}: {ranks.size} processes need a world each at least, the run has {config['num_envs']}")
    worlds = ranks.share(config["num_envs"])
    env = environments.make(config["env_id"], worlds, device, evaluate.source_of(config), **evaluate.settings_of(config))
    return (load or load_agent)(checkpoint, env, device, ranks=ranks)


def _the_one_before(run: Path, checkpoint: Path, command: str) -> str:
    from mprl.agents import runs

    before = [path for path in runs.checkpoints_of(run) if runs.steps_of(path) < runs.steps_of(checkpoint)]
    return f"; from the checkpoint before: {command} --resume {before[-1]}" if before else ""
