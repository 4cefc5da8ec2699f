"""One policy over all clips: PPO over a library with uniform and with adaptive sampling, judged clip by clip as PHC judges.

Both runs differ in the sampling alone: same clips, which begin equally often without it, same steps, same seed. A run that was stopped
goes on, and so does a shorter one. Beside them, where an agent ships for each of the clips: one student of them all (`mprl distill`), in
as many steps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mprl.errors import CheckpointError, SettingError
from mprl.scripts import environments, evaluate, resume, train
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, Overview

ENV_ID = "mprl/DeepMimic-v0"
RESULT = "clips.json"
UNIFORM, ADAPTIVE, DISTILLED, ZERO = "uniform", "adaptive", "distilled", "zero actions"
REPEATS = 3
KEYS = ("success_rate", "clips_succeeded", "mpjpe_global_mm", "mpjpe_local_mm", "normalized_return")
# little exploration: docs/motion.md
SETTINGS = ("--agent.initial-std", "0.1", "--agent.final-std", "0.04", "--agent.target-kl", "0.1", "--agent.clip-range", "0.3")


def default_motions() -> list[str]:
    """The folder of real motion capture, where $MPRL_MOCAP names one, and all shipped clips."""
    mocap = os.environ.get("MPRL_MOCAP")
    return [*([mocap] if mocap else []), "all"]


def measure(motions: Sequence[str], ways: Sequence[str], steps: float, num_envs: int, seed: int, threads: int, out: Path) -> Measured:
    """All figures of `mprl benchmark clips`.

    Args:
        motions: names, files, folders or "all".
        ways: "uniform", "adaptive", "distilled".
        steps: of each run.
        num_envs: worlds.
        seed: of the runs.
        threads: of the simulation; a distillation takes all cores.
        out: folder of the runs.

    Raises:
        MprlError: no such motion, or a folder that holds another run.
        KeyboardInterrupt: a run was stopped.
    """
    from mprl.envs.imitation.checks import expanded

    sources = [str(source) for each in motions for source in expanded(each)]
    if len(sources) < 2:
        raise SettingError(f"one policy over several clips: expected at least 2, found {len(sources)}")
    found = {way: run(way, sources, steps, num_envs, seed, threads, out / f"{way}-seed{seed}") for way in ways}
    zero = judge_zero(sources, threads)
    taken = ", ".join(f"{way} {one['num_timesteps']:,}" for way, one in found.items())  # a stopped run may have gone further
    about = {"clips": len(sources), "steps": taken, "worlds": num_envs, "seed": seed, "episodes of each clip": REPEATS}
    return Measured(figures(found), about, overview([Path(source).stem for source in sources], {ZERO: zero, **found}))


def run(way: str, sources: Sequence[str], steps: float, num_envs: int, seed: int, threads: int, folder: Path) -> dict[str, Any]:
    """Train, or go on, and judge; what was judged before after as many steps is read back."""
    from mprl.agents.checkpoints import read_config

    if way == DISTILLED:
        ended = _distil(sources, steps, num_envs, seed, folder)
    else:
        ended = _train(way, sources, steps, num_envs, seed, threads, folder)
    if ended:
        raise KeyboardInterrupt
    done = read_config(folder)["num_timesteps"]
    try:
        kept = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        if kept["num_timesteps"] == done and len(kept["clips"]) == len(sources):
            return dict(kept)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not judged yet
    print(f"judging {folder}")
    judged = {**judge(folder), "num_timesteps": done}
    evaluate.write_json(folder / RESULT, judged)
    return judged


def _train(way: str, sources: Sequence[str], steps: float, num_envs: int, seed: int, threads: int, folder: Path) -> int:
    """Train until so many steps; 0, or the exit code of what stopped it."""
    from mprl.agents import runs

    weights = ["1"] * len(sources)
    words = [ENV_ID, "--agent", "ppo", "--seed", str(seed), "--num-envs", str(num_envs), "--steps", str(steps), "--evaluate-every", "0"]
    words += ["--env.motion", *sources, "--env.clip-weights", *weights, "--env.num-threads", str(threads), *SETTINGS]
    words += ["--env.adaptive-sampling", "True"] if way == ADAPTIVE else []
    options = train.read(words)
    if not runs.checkpoints_of(folder):
        print(f"training {folder}: {len(sources)} clips, {steps:,.0f} steps, sampling {way}")
        return train.train(train.make_agent(options), folder, train.plan(options))
    return 0 if _is_done(folder, steps, sources, num_envs, seed, True if way == ADAPTIVE else None) else resume.resume(folder, steps=steps)


def _is_done(folder: Path, steps: float, sources: Sequence[str], num_envs: int, seed: int, adaptive: bool | None = None) -> bool:
    """Whether a run that is there has come so far.

    Raises:
        CheckpointError: it is another run.
    """
    from mprl.agents import runs
    from mprl.agents.checkpoints import read_config

    plan, config = runs.Plan.read(folder), read_config(folder)
    there = config["seed"], config["num_envs"], list(config["env_kwargs"].get("motion", ())), config["env_kwargs"].get("adaptive_sampling")
    if there != (seed, num_envs, list(sources), adaptive):
        raise CheckpointError(f"{folder}: holds a run with other settings; choose another folder with --out")
    return max(plan.ended_steps, config["num_timesteps"]) >= steps


def _distil(sources: Sequence[str], steps: float, num_envs: int, seed: int, folder: Path) -> int:
    """Distil the shipped agents of the clips, or go on with it; 0, or the exit code of what stopped it."""
    from mprl.agents import runs
    from mprl.scripts import distill

    if runs.checkpoints_of(folder):
        done = _is_done(folder, steps, sources, num_envs, seed)
        return 0 if done else distill.main(["--resume", str(folder), "--steps", str(steps)])
    known = experts()
    for source in sources:
        if source not in known:
            raise SettingError(f"no agent ships that imitates {source}; leave it out of --motions, or 'distilled' out of --ways")
    words = [*(known[source] for source in sources), "--motion", *sources, "--steps", str(steps), "--num-envs", str(num_envs)]
    return distill.main([*words, "--seed", str(seed), "--out", str(folder)])


def experts() -> dict[str, str]:
    """Names of the shipped agents whose humanoid imitates one motion and nothing else, by the motion's name."""
    from mprl.agents import shipped
    from mprl.agents.checkpoints import read_config

    found = {}
    for name in shipped.names():
        config = read_config(shipped.TRAINED / name)
        if config["env_id"] == ENV_ID and config["env_kwargs"].keys() <= {"motion"}:
            found[config["env_kwargs"].get("motion", "walk")] = name
    return found


def judge(folder: Path) -> dict[str, Any]:
    """PHC's figures of the agent in a run folder."""
    from mprl.agents import load_agent
    from mprl.agents.checkpoints import read_config
    from mprl.agents.evaluation import Player

    env = evaluate.environment(read_config(folder), 1)
    agent = load_agent(folder, env, training=False)
    found: dict[str, Any] = env.evaluate_clips(Player(agent, agent._make_batch(env).observation), REPEATS)
    env.close()
    return found


def judge_zero(sources: Sequence[str], threads: int) -> dict[str, Any]:
    """The same of actions that ask for the reference and know nothing of balance: what learning adds to."""
    env: Any = environments.make(ENV_ID, 1, motion=list(sources), num_threads=threads)
    found: dict[str, Any] = env.evaluate_clips(lambda observation: torch.zeros(len(observation), env.model.nu, device=env.device), REPEATS)
    env.close()
    return found


def figures(found: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    """Of the last way, beside uniform sampling where both were run."""
    way, base = list(found)[-1], found.get(UNIFORM)
    told = {
        "success_rate": ("success, never .5 m off", "", False),
        "clips_succeeded": ("clips in which no episode failed", "", False),
        "mpjpe_global_mm": ("position error", "mm", True),
        "mpjpe_local_mm": ("position error, relative to the root", "mm", True),
        "normalized_return": ("normalised return", "", False),
    }
    made = []
    for key in KEYS:
        what, unit, less = told[key]
        peer = base["library"][key] if base is not None and way != UNIFORM else None
        against = f"ours {way}, peer uniform sampling" if peer is not None else ""
        ours = found[way]["library"][key]
        made.append(Figure(key, what, unit, ours, peer, None if less else 1.0, against, less_is_better=less))
    return made


def overview(names: Sequence[str], found: Mapping[str, Mapping[str, Any]]) -> Overview:
    """A clip to a line: success and errors, in the world and relative to the root, of each way."""
    rows = []
    for at, name in enumerate(names):
        rows.append((name, *(_cell(results["clips"][at]) for results in found.values())))
    rows.append(("all", *(_cell(results["library"]) for results in found.values())))
    return Overview(("success · error · relative to the root, mm", *found), rows)


def _cell(one: Mapping[str, Any]) -> str:
    return f"{one['success_rate']:.0%} · {one['mpjpe_global_mm']:.0f} · {one['mpjpe_local_mm']:.0f}"
