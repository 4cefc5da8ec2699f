"""Agents that are not told velocities: what a memory of the episode, or the last few observations, make up for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from mprl.errors import SettingError
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.once import once
from mprl.scripts.benchmarks.report import Figure, Overview
from mprl.scripts.options import make_folder

RESULT = "benchmark_memory.json"
FEATURES = 32  # that an encoder makes of it
EPISODES, WORLDS, SEED = 100, 20, 99_991  # of judging
ENOUGH = 0.9  # share of what the agent reaches that is told the whole state
STATE, HIDDEN = "the state", "no velocities"


@dataclass(frozen=True)
class Way:
    """How an agent sees.

    Attributes:
        name: in tables.
        blind: whether velocities are hidden.
        recurrent: a memory in the policy.
        history: how many of the last observations it sees; 0: the one that there is.
        encoder: of them, which learns along; "": they go into the policy one after the other.
    """

    name: str
    blind: bool = True
    recurrent: str = "none"
    history: int = 0
    encoder: str = ""

    @property
    def remembers(self) -> bool:
        return self.history > 0 or self.recurrent != "none"


def ways(length: int, encoders: Sequence[str]) -> tuple[Way, ...]:
    """Told everything, not told velocities, with a history of this length, through encoders of it, with a memory."""
    last = f"{HIDDEN}, last {length}"
    encoded = (Way(f"{last}, {encoder}", history=length, encoder=encoder) for encoder in encoders)
    told, blind, memory = Way(STATE, blind=False), Way(HIDDEN), Way(f"{HIDDEN}, recurrent gru", recurrent="gru")
    return told, blind, Way(f"{last}, mlp", history=length), *encoded, memory


@dataclass(frozen=True)
class Task:
    """An environment.

    Attributes:
        steps: to learn for, over all worlds.
        ways: to see it.
        recurrent: settings of the agent in place of the preset's with a memory, whose minibatches are whole sequences.
        hidden: indices of the velocities in an observation.
        hides: settings of the environment that hide them, where it has such.
        kwargs: its other settings.
        settings: of the agent, in place of the preset's.
        seeds: runs of each way at most, where they take long.
    """

    steps: int
    ways: tuple[Way, ...]
    recurrent: Mapping[str, Any]
    hidden: tuple[int, ...] = ()
    hides: Mapping[str, Any] = field(default_factory=dict)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: int | None = None


TASKS = {
    "CartPole-v1": Task(30_000, ways(6, ["tcn"]), {"batch_size": 1024}, (1, 3)),
    "Pendulum-v1": Task(100_000, ways(6, ["tcn"]), {"batch_size": 256}, (2,)),
    # the shipped walk, with little exploration (docs/motion.md); 185 numbers an observation, so no encoder of few features
    "mprl/DeepMimic-v0": Task(
        1_500_000, ways(3, []), {"recurrent_size": 256},
        hides={"velocity_observation": False}, kwargs={"output": "torch"},
        settings={"initial_std": 0.1, "final_std": 0.04, "std_steps": 1.5e6, "target_kl": 0.1, "clip_range": 0.3},
        seeds=1,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a run is to be."""

    env_id: str
    way: str
    seed: int
    steps: int


@dataclass(frozen=True)
class Baseline:
    """A policy that acts at random: its mean return, and mean and standard deviation of each number that it sees."""

    value: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


def measure(env_ids: Sequence[str], seeds: int, steps: float | None, out: Path) -> Measured:
    """All figures of `mprl benchmark memory`.

    Args:
        env_ids: of `TASKS`.
        seeds: runs of each way to see.
        steps: of each run; None: as many as suit the environment.
        out: folder of the runs; those that are finished there are read back.

    Raises:
        MprlError: an environment without settings, or a folder that holds something else.
    """
    for env_id in env_ids:
        if env_id not in TASKS:
            raise SettingError(f"no velocities are known of '{env_id}'; choose among {', '.join(TASKS)}")
    baselines = {env_id: random_policy(env_id) for env_id in env_ids}
    found: dict[tuple[str, Way], list[dict[str, float]]] = {(env_id, way): [] for env_id in env_ids for way in TASKS[env_id].ways}
    for seed in range(seeds):  # one run of everything first
        for env_id, way in found:
            if seed >= (TASKS[env_id].seeds or seeds):
                continue
            asked = Asked(env_id, way.name, seed, int(steps or TASKS[env_id].steps))
            found[env_id, way].append(run(asked, way, baselines[env_id], out / _folder(asked)))
    figures, rows = [], []
    for env_id, baseline in baselines.items():
        of = {way: found[env_id, way] for way in TASKS[env_id].ways}
        figures += shares(env_id, {way: [each["return_mean"] for each in runs] for way, runs in of.items()}, baseline.value)
        rows += overview(env_id, of, baseline.value)
    columns = ("environment", "sees", "seeds", "return, median", "least to greatest", "share", "steps", "minutes")
    about = {"seeds": seeds, "episodes": EPISODES, "random policies' returns": _told(baselines)}
    return Measured(figures, about, Overview(columns, rows))


def share(value: float, full: float, nothing: float) -> float:
    """How far from a random policy's return (0) to that of the agent that is told the state (1)."""
    return (value - nothing) / (full - nothing)


def shares(env_id: str, values: Mapping[Way, Sequence[float]], nothing: float) -> list[Figure]:
    """A figure for each way to see but the whole state: shares of its median return.

    Args:
        env_id: the environment.
        values: returns of the runs.
        nothing: the return of a random policy.
    """
    full = statistics.median(next(returns for way, returns in values.items() if not way.blind))
    figures = []
    for way, returns in values.items():
        if way.blind:
            each = [share(value, full, nothing) for value in returns]
            figures.append(
                Figure(
                    f"{env_id}_{way.name}", f"{env_id}, {way.name}", "share", statistics.median(each), limit=1.0,
                    against="0 is a random policy's return; limit the agent that is told the state (the median of its runs)",
                    target=("ours", ENOUGH) if way.remembers else None, rounds={"ours": each}, spread=True,
                )
            )  # fmt: skip
    return figures


def overview(env_id: str, found: Mapping[Way, Sequence[Mapping[str, float]]], nothing: float) -> list[tuple[str, ...]]:
    """A row for each way to see."""
    full = statistics.median(one["return_mean"] for one in next(runs for way, runs in found.items() if not way.blind))
    rows: list[tuple[str, ...]] = []
    for way, runs in found.items():
        values = sorted(one["return_mean"] for one in runs)
        median, minutes = statistics.median(values), statistics.median(one["minutes"] for one in runs)
        told = (f"{median:.1f}", f"{values[0]:.1f} to {values[-1]:.1f}", f"{share(median, full, nothing):.2f}")
        rows.append((env_id, way.name, str(len(runs)), *told, f"{runs[0]['steps']:,.0f}", f"{minutes:.1f}"))
    return rows


# --- runs ---------------------------------------------------------------------------------------------------------------------


def run(asked: Asked, way: Way, baseline: Baseline, folder: Path) -> dict[str, float]:
    """Train and judge an agent, or read what became of it: `return_mean`, `steps`, `minutes`.

    Raises:
        CheckpointError: the folder has another run, or a file in it cannot be read or written.
    """

    def train() -> dict[str, float]:
        agent = make_agent(asked, way, baseline)
        began = time.perf_counter()
        agent.learn(asked.steps)
        minutes = (time.perf_counter() - began) / 60
        make_folder(folder)
        agent.save(folder)
        return {"return_mean": judge(agent, asked.env_id, way), "steps": float(agent.num_timesteps), "minutes": minutes}

    return once(folder / RESULT, asdict(asked), ("return_mean", "steps", "minutes"), train)


def make_env(env_id: str, way: Way, num_envs: int) -> Any:
    """Worlds as the agent sees them."""
    from mprl.envs.wrappers import hide, history

    task = TASKS[env_id]
    env: Any = gym.make_vec(env_id, num_envs=num_envs, **{**task.kwargs, **(task.hides if way.blind else {})})
    if way.blind and task.hidden:
        env = hide(env, task.hidden)
    return history(env, way.history) if way.history else env


def make_agent(asked: Asked, way: Way, baseline: Baseline) -> Any:
    """PPO with the preset of the environment."""
    from mprl.agents import PPO
    from mprl.perception.plug import build
    from mprl.perception.spec import Spec

    task = TASKS[asked.env_id]
    env = make_env(asked.env_id, way, PPO.training_preset(asked.env_id)["num_envs"])
    if way.recurrent != "none":
        return PPO(env, seed=asked.seed, recurrent=way.recurrent, **{**task.settings, **task.recurrent})
    if not way.encoder:
        return PPO(env, seed=asked.seed, **task.settings)
    seen = [index for index in range(len(baseline.mean)) if index not in task.hidden]
    mean, std = (tuple(column[index] for index in seen) for column in (baseline.mean, baseline.std))
    spec = Spec.of(env.single_observation_space, frozen=False, mean=mean, std=std)
    encoder = build(way.encoder, spec, FEATURES, seed=asked.seed)
    return PPO(env, seed=asked.seed, perception=encoder, **task.settings)


def judge(agent: Any, env_id: str, way: Way) -> float:
    """Mean return of deterministic episodes, of another seed than those that were learned from."""
    from mprl.agents.evaluation import play

    return float(play(agent, make_env(env_id, way, WORLDS), EPISODES, seed=SEED)["return_mean"])


def random_policy(env_id: str) -> Baseline:
    """Of `EPISODES` episodes, whose observations without velocities are what an encoder's inputs are standardised by."""
    env = gym.make(env_id)  # one world, told everything; of a batch the means would favour short episodes
    env.action_space.seed(SEED)
    seen, total = [], 0.0
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=SEED + episode)
        ended = False
        while not ended:
            seen.append(np.asarray(observation, np.float64))
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total += float(reward)
            ended = terminated or truncated
    numbers = np.stack(seen)
    return Baseline(total / EPISODES, tuple(numbers.mean(0).tolist()), tuple(numbers.std(0).tolist()))


def _folder(asked: Asked) -> str:
    return f"{asked.env_id}-{asked.way.replace(', ', '-').replace(' ', '_')}-{asked.seed}"


def _told(baselines: Mapping[str, Baseline]) -> str:
    return ", ".join(f"{env_id} {baseline.value:.1f}" for env_id, baseline in baselines.items())
