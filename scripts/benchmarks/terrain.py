"""The humanoid that looks ahead: walking over generated ground with a height scan, beside walking blind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch

from mprl.errors import unknown_name
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.once import once
from mprl.scripts.benchmarks.report import Figure, Overview
from mprl.scripts.options import make_folder

RESULT = "benchmark_terrain.json"
ENV_ID = "mprl/DeepMimic-v0"
BLIND, SEEING = "blind", "height scan"
LEVELS = (0.25, 0.5, 0.75)  # difficulties of judging
LEARNED_AT = 0.5
LEARNED_SEED, JUDGED_SEED = 0, 5  # of where gaps and steps are: none is judged on that it has learned on
EPISODES, WORLDS = 64, 256
FEATURES, HIDDEN = 32, (128, 64)  # of the encoder
SETTINGS = {
    "initial_std": 0.12,
    "final_std": 0.04,
    "std_steps": 3e6,
    "target_kl": 0.1,
    "clip_range": 0.3,
}  # little exploration: docs/motion.md


@dataclass(frozen=True)
class Found:
    """What became of an agent: the share of episodes without a fall at each of `LEVELS`, and their mean length, s."""

    success: tuple[float, ...]
    seconds: tuple[float, ...]
    steps: float
    minutes: float


def measure(kind: str, seeds: int, steps: float, out: Path) -> Measured:
    """All figures of `mprl benchmark terrain`.

    Args:
        kind: of ground.
        seeds: runs, blind and with a height scan.
        steps: of each run.
        out: folder of the runs; those that are finished there are read back.

    Raises:
        MprlError: another kind of ground, or a folder that holds something else.
    """
    from mprl.envs.imitation.terrain import KINDS

    if kind not in KINDS:
        raise unknown_name("terrain", kind, tuple(KINDS), f"known: {', '.join(KINDS)}")
    found: dict[str, list[Found]] = {BLIND: [], SEEING: []}
    for seed in range(seeds):
        for way, runs in found.items():
            runs.append(run(kind, way, seed, int(steps), out / f"{kind}-{way.replace(' ', '_')}-{seed}"))
    columns = ("ground", "walks", "difficulty", "seeds", "without a fall, median", "least to greatest", "seconds", "steps", "minutes")
    about = {"seeds": seeds, "episodes": EPISODES, "learned at difficulty": LEARNED_AT}
    return Measured(figures(kind, found), about, Overview(columns, overview(kind, found)))


def figures(kind: str, found: Mapping[str, Sequence[Found]]) -> list[Figure]:
    """Success of those that see, beside those that do not, for each difficulty."""
    made = []
    for at, level in enumerate(LEVELS):
        seeing, blind = ([one.success[at] for one in found[way]] for way in (SEEING, BLIND))
        made.append(
            Figure(
                f"{kind}_{level:g}", f"{kind}, difficulty {level:g}", "share without a fall", statistics.median(seeing),
                peer=statistics.median(blind), limit=1.0, against="ours with a height scan, peer blind",
                rounds={"ours": seeing, "peer": blind}, spread=True,
            )
        )  # fmt: skip
    return made


def overview(kind: str, found: Mapping[str, Sequence[Found]]) -> list[tuple[str, ...]]:
    """A row for each way to walk and each difficulty."""
    rows = []
    for way, runs in found.items():
        for at, level in enumerate(LEVELS):
            values = sorted(one.success[at] for one in runs)
            seconds, minutes = (
                statistics.median(numbers) for numbers in ([one.seconds[at] for one in runs], [one.minutes for one in runs])
            )
            told = (f"{statistics.median(values):.2f}", f"{values[0]:.2f} to {values[-1]:.2f}", f"{seconds:.1f}")
            rows.append((kind, way, f"{level:g}", str(len(runs)), *told, f"{runs[0].steps:,.0f}", f"{minutes:.1f}"))
    return rows


def run(kind: str, way: str, seed: int, steps: int, folder: Path) -> Found:
    """Train and judge an agent, or read what became of it.

    Raises:
        CheckpointError: the folder has another run, or a file in it cannot be read or written.
    """

    def train() -> dict[str, float]:
        agent = make_agent(kind, way, seed)
        began = time.perf_counter()
        agent.learn(steps)
        minutes = (time.perf_counter() - began) / 60
        make_folder(folder)
        agent.save(folder)
        judged = {}
        for level in LEVELS:
            success, seconds = judge(agent, kind, way, level)
            judged |= {f"success_{level:g}": success, f"seconds_{level:g}": seconds}
        return {**judged, "steps": float(agent.num_timesteps), "minutes": minutes}

    names = [f"{what}_{level:g}" for what in ("success", "seconds") for level in LEVELS]
    asked = {"terrain": kind, "way": way, "seed": seed, "steps": steps}
    numbers = once(folder / RESULT, asked, [*names, "steps", "minutes"], train)
    success, seconds = (tuple(numbers[f"{what}_{level:g}"] for level in LEVELS) for what in ("success", "seconds"))
    return Found(success, seconds, numbers["steps"], numbers["minutes"])


def make_env(kind: str, way: str, difficulty: float, num_envs: int, terrain_seed: int) -> Any:
    """Worlds as the agent sees them."""
    sensors = ("height_scan",) if way == SEEING else ()
    return gym.make_vec(
        ENV_ID, num_envs=num_envs, output="torch", num_threads=torch.get_num_threads(), terrain=kind, difficulty=difficulty,
        terrain_seed=terrain_seed, sensors=sensors,
    )  # fmt: skip


def make_agent(kind: str, way: str, seed: int) -> Any:
    """PPO; one that sees has an encoder of the height scan that learns along."""
    from mprl.agents import PPO
    from mprl.perception.plug import build
    from mprl.perception.spec import Spec

    env = make_env(kind, way, LEARNED_AT, WORLDS, LEARNED_SEED)
    if way == BLIND:
        return PPO(env, seed=seed, **SETTINGS)
    # heights are below the root, on level ground by the length of the legs
    spec = Spec.of(env.single_observation_space, "height_scan", frozen=False, mean=-0.9, std=0.2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build("mlp", spec, FEATURES, hidden=HIDDEN)
    return PPO(env, seed=seed, perception=encoder, **SETTINGS)


def judge(agent: Any, kind: str, way: str, difficulty: float) -> tuple[float, float]:
    """Share of deterministic episodes without a fall and within .5 m of the reference, and their mean length, s; on other ground."""
    from mprl.agents import evaluate

    found = evaluate(agent, make_env(kind, way, difficulty, 1, JUDGED_SEED), EPISODES, JUDGED_SEED)
    return float(found["success_rate"]), float(found["seconds_mean"])
