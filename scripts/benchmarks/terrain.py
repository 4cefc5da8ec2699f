"""The humanoid that looks ahead: walking over generated ground with a height scan, beside walking blind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from mprl.envs.imitation.terrain import KINDS, Terrain
from mprl.errors import unknown_name
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.once import once
from mprl.scripts.benchmarks.report import Figure, Overview
from mprl.scripts.options import make_folder

RESULT = "benchmark_terrain.json"
ENV_ID = "mprl/DeepMimic-v0"
BLIND, SEEING = "blind", "height scan"
LEVELS = (0.1, 0.2, 0.3)  # difficulties: learned on side by side, judged one by one
LEARNED_SEED, JUDGED_SEED = 0, 5  # of where gaps and steps are: none is judged on that it has learned on
WALK_STEPS = 1_500_000  # on level ground, before
EPISODES, WORLDS = 64, 256
FEATURES, HIDDEN = 32, (128, 64)  # of the encoder
# Ditches are 6 cm wide and more: points 10 cm apart, as a scan has them by itself, miss them or not as it happens. They lie across the
# way, so that three columns are enough; 20 cm behind the root to 1 m ahead.
SCAN = {"rows": 25, "columns": 3, "spacing": 0.05, "ahead": 0.4}
# little exploration: docs/motion.md
SETTINGS: dict[str, Any] = {"initial_std": 0.1, "final_std": 0.04, "std_steps": 3e6, "target_kl": 0.1, "clip_range": 0.3}


@dataclass(frozen=True)
class Found:
    """What became of an agent: the share of episodes without a fall at each of `LEVELS`, and their mean length, s."""

    success: tuple[float, ...]
    seconds: tuple[float, ...]
    steps: float
    minutes: float


def measure(kind: str, seeds: int, steps: float, walker: Path | None, out: Path) -> Measured:
    """All figures of `mprl benchmark terrain`.

    Args:
        kind: of ground.
        seeds: runs, blind and with a height scan.
        steps: of each run.
        walker: an agent that walks on level ground, which all begin as; None: it is trained first.
        out: folder of the runs; those that are finished there are read back.

    Raises:
        MprlError: another kind of ground, or a folder that holds something else.
    """
    if kind not in KINDS:
        raise unknown_name("terrain", kind, tuple(KINDS), f"known: {', '.join(KINDS)}")
    if walker is None:
        walker = out / "walker"
        once(walker / RESULT, {"steps": WALK_STEPS}, ["steps"], lambda: learn_to_walk(walker))
    found: dict[str, list[Found]] = {BLIND: [], SEEING: []}
    for seed in range(seeds):
        for way, runs in found.items():
            runs.append(run(kind, way, seed, int(steps), walker, out / f"{kind}-{way.replace(' ', '_')}-{seed}"))
    columns = ("ground", "walks", "difficulty", "seeds", "without a fall, median", "least to greatest", "seconds", "steps", "minutes")
    about = {"seeds": seeds, "episodes": EPISODES}
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
    rows: list[tuple[str, ...]] = []
    for way, runs in found.items():
        for at, level in enumerate(LEVELS):
            values = sorted(one.success[at] for one in runs)
            seconds, minutes = (
                statistics.median(numbers) for numbers in ([one.seconds[at] for one in runs], [one.minutes for one in runs])
            )
            told = (f"{statistics.median(values):.2f}", f"{values[0]:.2f} to {values[-1]:.2f}", f"{seconds:.1f}")
            rows.append((kind, way, f"{level:g}", str(len(runs)), *told, f"{runs[0].steps:,.0f}", f"{minutes:.1f}"))
    return rows


def run(kind: str, way: str, seed: int, steps: int, walker: Path, folder: Path) -> Found:
    """Train and judge an agent, or read what became of it.

    Raises:
        CheckpointError: the folder has another run, or a file in it cannot be read or written.
    """

    def train() -> dict[str, float]:
        agent = make_agent(kind, way, seed, walker)
        began = time.perf_counter()
        agent.learn(steps)
        minutes = (time.perf_counter() - began) / 60
        make_folder(folder)
        agent.save(folder)
        judged: dict[str, float] = {}
        for level in LEVELS:
            success, seconds = judge(agent, kind, way, level)
            judged |= {f"success_{level:g}": success, f"seconds_{level:g}": seconds}
        return {**judged, "steps": float(agent.num_timesteps), "minutes": minutes}

    names = [f"{what}_{level:g}" for what in ("success", "seconds") for level in LEVELS]
    asked = {"terrain": kind, "way": way, "seed": seed, "steps": steps}
    numbers = once(folder / RESULT, asked, [*names, "steps", "minutes"], train)
    success, seconds = (tuple(numbers[f"{what}_{level:g}"] for level in LEVELS) for what in ("success", "seconds"))
    return Found(success, seconds, numbers["steps"], numbers["minutes"])


def learn_to_walk(folder: Path) -> dict[str, float]:
    """Train and save the agent that all others begin as."""
    from mprl.agents import PPO

    agent = PPO(make_env("flat", BLIND, WORLDS), seed=0, **SETTINGS)
    agent.learn(WALK_STEPS)
    make_folder(folder)
    agent.save(folder)
    return {"steps": float(agent.num_timesteps)}


def make_agent(kind: str, way: str, seed: int, walker: Path) -> Any:
    """PPO that walks as the walker does; one that sees has an encoder of the height scan that learns along."""
    from mprl.agents import PPO, load_agent
    from mprl.perception.plug import build
    from mprl.perception.spec import Spec

    env = make_env(side_by_side(kind), way, WORLDS)
    encoder = None
    if way == SEEING:
        # heights are below the root, on level ground by the length of the legs
        spec = Spec.of(env.single_observation_space, "height_scan", frozen=False, mean=-0.9, std=0.2)
        encoder = build("mlp", spec, FEATURES, seed=seed, hidden=HIDDEN, output="norm")
    agent = PPO(env, seed=seed, perception=encoder, **SETTINGS)
    begin_as(agent, load_agent(walker))
    return agent


@torch.no_grad()
def begin_as(agent: Any, walker: Any) -> None:
    """Give an agent the weights of another; what it sees beside, its features, counts for nothing at first."""
    weights = agent.model.state_dict()
    for name, known in walker.model.state_dict().items():
        if known.ndim == 2:
            weights[name].zero_()[:, : known.shape[1]] = known
        else:
            weights[name].copy_(known)
    agent.model.load_state_dict(weights)


def side_by_side(kind: str) -> Terrain:
    """Ground in bands along x, one of each of `LEVELS`."""
    grounds = [KINDS[kind](level, np.random.default_rng(LEARNED_SEED)) for level in LEVELS]
    bands = np.array_split(np.arange(len(grounds[0].heights)), len(LEVELS))
    heights = [ground.heights[rows] for ground, rows in zip(grounds, bands, strict=True)]
    levels = [(ground.heights if ground.level is None else ground.level)[rows] for ground, rows in zip(grounds, bands, strict=True)]
    return Terrain(np.concatenate(heights), grounds[0].cell, np.concatenate(levels))


def make_env(terrain: Any, way: str, num_envs: int, **settings: Any) -> Any:
    """Worlds as the agent sees them."""
    sensors = {"height_scan": SCAN} if way == SEEING else {}
    threads = torch.get_num_threads()
    return gym.make_vec(ENV_ID, num_envs=num_envs, output="torch", num_threads=threads, terrain=terrain, sensors=sensors, **settings)


def judge(agent: Any, kind: str, way: str, difficulty: float) -> tuple[float, float]:
    """Share of deterministic episodes without a fall and within .5 m of the reference, and their mean length, s; on other ground."""
    from mprl.agents import evaluate

    found = evaluate(agent, make_env(kind, way, 1, difficulty=difficulty, terrain_seed=JUDGED_SEED), EPISODES, JUDGED_SEED)
    return float(found["success_rate"]), float(found["seconds_mean"])
