"""`mprl train --resume DIR`: go on with a run as if it had never stopped."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mprl.errors import CheckpointError, SettingError
from mprl.scripts import environments, evaluate, train
from mprl.scripts.options import parse

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


def main(argv: Sequence[str]) -> int:
    """Run `mprl train --resume`."""
    for at, word in enumerate(argv):
        option, is_value = word.partition("=")[0], at > 0 and argv[at - 1] in _OPTIONS
        if option not in _OPTIONS and not is_value:
            raise SettingError(
                f"{option} cannot be given with --resume: the run goes on as it was begun; only {', '.join(_OPTIONS[1:])} can"
            )
    options = parse(Options, "mprl train", argv)
    train.check_end(options)
    return resume(options.resume, options.steps, options.minutes, options.stop_at, options.patience)


def resume(
    folder: Path, steps: float | None = None, minutes: float | None = None, stop_at: float | None = None, patience: int | None = None
) -> int:
    """Go on with a run.

    Args:
        folder: of the run, or one of its checkpoints; later checkpoints are then removed.
        steps, minutes: the run's new end, counted from its beginning; by default it keeps the one it has.
        stop_at: the score at which it now ends early; inf: at none.
        patience: after how many evaluations that bring nothing better it now ends early; 0: never.

    Returns:
        Exit code, as `train.train`.

    Raises:
        MprlError: no run, a broken one, or one that has come to its end.
    """
    from mprl.agents import runs
    from mprl.agents.callbacks import StopTraining

    run, checkpoint = runs.newest(folder)
    plan = runs.Plan.read(run)
    if steps is not None or minutes is not None:
        plan = dataclasses.replace(plan, steps=steps, minutes=minutes)
    if stop_at is not None:
        plan = dataclasses.replace(plan, stop_at=None if stop_at == math.inf else stop_at)
    if patience is not None:
        plan = dataclasses.replace(plan, patience=patience)
    with runs.alone(run):
        try:
            agent = _load(checkpoint)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{_the_one_before(run, checkpoint)}") from None
        is_newest = checkpoint == runs.checkpoints_of(run)[-1]
        if (is_newest and plan.is_over(plan.ended_steps, plan.ended_seconds)) or plan.is_over(agent.num_timesteps, agent.seconds):
            raise SettingError(f"{run}: the run has come to its end; give it a new one with --steps or --minutes")
        came_to = max(agent.num_timesteps, plan.ended_steps if is_newest else 0)
        early = StopTraining(plan.stop_at, plan.patience, run, came_to).reason
        if early:
            raise SettingError(f"{run}: the run ended early: {early}; to go on give another --stop-at (inf: none) or --patience (0: none)")
        for later in runs.checkpoints_of(run):
            if runs.steps_of(later) > agent.num_timesteps:
                runs.remove(later)
        runs.tidy(run)
    print(f"Going on from step {agent.num_timesteps:,}, in {run}.")
    ended = train.train(agent, run, plan)
    train.summarise(agent, run)
    return ended


def _load(checkpoint: Path) -> Any:
    """The agent of a checkpoint, in an environment and with threads like those it learned with."""
    import torch

    from mprl.agents import load_agent
    from mprl.agents.checkpoints import TRAINING, read_config, read_training

    config, training = read_config(checkpoint), read_training(checkpoint)
    if training is None:
        raise CheckpointError(f"{checkpoint}: holds no state of learning ({TRAINING} is missing)")
    torch.set_num_threads(training[1]["torch_threads"])  # sums of floats depend on how many there are
    device = training[1]["device"]
    train.check_device(device)
    env = environments.make(config["env_id"], config["num_envs"], device, evaluate.source_of(config), **evaluate.settings_of(config))
    return load_agent(checkpoint, env, device)


def _the_one_before(run: Path, checkpoint: Path) -> str:
    from mprl.agents import runs

    before = [path for path in runs.checkpoints_of(run) if runs.steps_of(path) < runs.steps_of(checkpoint)]
    return f"; from the checkpoint before: mprl train --resume {before[-1]}" if before else ""
