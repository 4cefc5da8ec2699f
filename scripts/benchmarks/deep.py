"""Deep agents beside Stable-Baselines3's: how fast they learn CartPole with the same settings, and what presets reach elsewhere."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from mprl.errors import SettingError
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.published import RL_ZOO
from mprl.scripts.benchmarks.report import Figure, Overview, Target, alternate, medians

ENVIRONMENT = "CartPole-v1"
SOLVED = 475.0  # mean return of the deterministic policy; Gymnasium's own threshold
EVERY = 2_500  # steps between two looks at whether it is reached
WORLDS, EPISODES = 20, 100  # of a look, and of judging a finished run
RESULT = "benchmark_return.json"


@dataclass(frozen=True)
class Algorithm:
    """One algorithm with RL Zoo's settings for CartPole, said twice.

    Attributes:
        num_envs: copies of the environment.
        steps: budget; also what schedules run over.
        ours: settings of our agent. theirs: of Stable-Baselines3's.
        target: how many times as fast ours has to be.
        chunk: steps of one round of measuring.
    """

    num_envs: int
    steps: int
    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]
    target: float
    chunk: int
    policy: Mapping[str, Any] = field(default_factory=dict)


ALGORITHMS = {
    "ppo": Algorithm(
        num_envs=8,
        steps=100_000,
        ours=dict(
            n_steps=32,
            batch_size=256,
            n_epochs=20,
            gae_lambda=0.8,
            gamma=0.98,
            ent_coef=0.0,
            max_grad_norm=0.5,
            target_kl=None,
            learning_rate="linear 1e-3 0 1e5",
            clip_range="linear 0.2 0 1e5",
            hidden=(64, 64),
            activation="tanh",
            normalize_observations=False,
        ),
        theirs=dict(
            n_steps=32,
            batch_size=256,
            n_epochs=20,
            gae_lambda=0.8,
            gamma=0.98,
            ent_coef=0.0,
            learning_rate=lambda left: 1e-3 * max(left, 0.0),
            clip_range=lambda left: 0.2 * max(left, 0.0),
        ),
        target=3.0,
        chunk=10_240,
    ),
    "a2c": Algorithm(
        num_envs=8,
        steps=500_000,
        ours=dict(
            n_steps=5,
            learning_rate=7e-4,
            gamma=0.99,
            gae_lambda=1.0,
            ent_coef=0.0,
            max_grad_norm=0.5,
            hidden=(64, 64),
            activation="tanh",
            optimizer="rmsprop",
            normalize_observations=False,
            normalize_returns=False,
            normalize_advantage=False,
        ),
        theirs=dict(ent_coef=0.0),
        target=2.0,
        chunk=20_480,
    ),
    "dqn": Algorithm(
        num_envs=1,
        steps=50_000,
        ours=dict(
            learning_rate=2.3e-3,
            batch_size=64,
            buffer_size=100_000,
            learning_starts=1000,
            gamma=0.99,
            target_update_interval=10,
            train_freq=256,
            gradient_steps=128,
            exploration="linear 1 0.04 8000",
            hidden=(256, 256),
        ),
        theirs=dict(
            learning_rate=2.3e-3,
            batch_size=64,
            buffer_size=100_000,
            learning_starts=1000,
            gamma=0.99,
            target_update_interval=10,
            train_freq=256,
            gradient_steps=128,
            exploration_fraction=0.16,
            exploration_final_eps=0.04,
        ),
        policy={"net_arch": [256, 256]},
        target=3.0,
        chunk=5_120,
    ),
}


def measure(names: Sequence[str], runs: Sequence[Path], seeds: int, seconds: float, threads: int) -> Measured:
    """All figures of `mprl benchmark deep`.

    Args:
        names: of `ALGORITHMS`, whose speed is measured.
        runs: folders of `mprl train`, whose best agents are judged.
        seeds: runs to a return of 475 with each algorithm, ours and theirs.
        seconds: for each comparison of steps per second.
        threads: of torch, for the record.

    Raises:
        MprlError: an unknown algorithm, or a folder that is no run.
    """
    figures: list[Figure] = []
    for name in names:
        if name not in ALGORITHMS:
            raise SettingError(f"no settings for '{name}' to compare; choose among {', '.join(ALGORITHMS)}")
        figures += [_speed(name, seconds), *_time_to_solve(name, seeds)]
    found = [judge(folder) for folder in runs]
    table = _overview(found)
    if not figures:
        figures = [_figure(*key, group) for key, group in _grouped(found).items()]
    about = {"environment": ENVIRONMENT, "seeds": seeds, "torch threads": threads}
    return Measured(figures, about if names else {"episodes": EPISODES}, table if found else None)


# --- speed --------------------------------------------------------------------------------------------------------------------


def _ours(name: str, seed: int) -> Any:
    from mprl.agents import AGENTS

    algorithm = ALGORITHMS[name]
    env: Any = gym.make(ENVIRONMENT) if algorithm.num_envs == 1 else gym.make_vec(ENVIRONMENT, num_envs=algorithm.num_envs)
    kind = AGENTS[name]
    with without_preset(kind):
        return kind(env, seed=seed, **algorithm.ours)


@contextlib.contextmanager
def without_preset(kind: Any) -> Iterator[None]:
    """Within, what is not said is the default, not the preset for the environment."""
    before = kind._preset
    kind._preset = classmethod(lambda cls, env_id: {})
    try:
        yield
    finally:
        kind._preset = before


def _theirs(name: str, seed: int) -> Any:
    import stable_baselines3
    from stable_baselines3.common.env_util import make_vec_env

    algorithm = ALGORITHMS[name]
    envs = make_vec_env(ENVIRONMENT, n_envs=algorithm.num_envs, seed=seed)
    kind = getattr(stable_baselines3, name.upper())
    return kind("MlpPolicy", envs, seed=seed, device="cpu", policy_kwargs=dict(algorithm.policy) or None, **algorithm.theirs)


def _speed(name: str, seconds: float) -> Figure:
    algorithm = ALGORITHMS[name]
    ours, theirs = _ours(name, 0), _theirs(name, 0)

    def rate(learn: Callable[[], Any]) -> float:
        began = time.perf_counter()
        learn()
        return algorithm.chunk / (time.perf_counter() - began)

    ways = {
        "ours": functools.partial(rate, lambda: ours.learn(algorithm.chunk)),
        "peer": functools.partial(rate, lambda: theirs.learn(algorithm.chunk, reset_num_timesteps=False)),
    }
    rates = alternate(ways, seconds)
    middle = medians(rates)
    against = "peer Stable-Baselines3; RL Zoo's settings for CartPole: network, batch, environments and gradient steps are the same"
    target: Target = ("ratio_to_peer", algorithm.target)
    return Figure(
        f"{name}_speed", f"{name.upper()}", "steps/s", middle["ours"], middle["peer"], against=against, target=target, rounds=rates
    )


def _time_to_solve(name: str, seeds: int) -> list[Figure]:
    """Seconds of learning and steps until the deterministic policy returns 475, looks at it not counted."""
    ways = {"ours": _solve_ours, "peer": _solve_theirs}
    found = {way: [solve(name, seed) for seed in range(seeds)] for way, solve in ways.items()} if seeds else {}
    if not found:
        return []
    figures = []
    for at, (what, unit) in enumerate((("time to 475", "s"), ("steps to 475", "steps"))):
        rounds = {way: [run[at] for run in runs] for way, runs in found.items()}
        middle = medians(rounds)
        target: Target | None = ("ratio_to_peer", ALGORITHMS[name].target) if unit == "s" else None
        against = f"median of {seeds} seeds; deterministic policy, mean of {WORLDS} episodes, looked at every {EVERY:,} steps"
        figures.append(
            Figure(
                f"{name}_{'time' if unit == 's' else 'steps'}_to_475", f"{name.upper()}, {what}", unit, middle["ours"], middle["peer"],
                against=against, less_is_better=True, target=target, rounds=rounds, spread=True,
            )
        )  # fmt: skip
    return figures


class _Clock:
    """Counts time but for that of the looks; says when the policy has come to 475."""

    def __init__(self) -> None:
        self.spent, self._since, self._next, self.found = 0.0, time.perf_counter(), EVERY, (math.inf, math.inf)

    def look(self, steps: int, act: Callable[[Any], Any]) -> bool:
        """Whether it is reached; called after every bit of learning."""
        if steps < self._next:
            return False
        self.spent += time.perf_counter() - self._since
        self._next = steps - steps % EVERY + EVERY
        if mean_return(act) >= SOLVED:
            self.found = self.spent, float(steps)
        self._since = time.perf_counter()
        return self.found[0] < math.inf


def mean_return(act: Callable[[Any], Any], seed: int = 12_345) -> float:
    """Of the first episode in each of `WORLDS` CartPoles."""
    envs = gym.make_vec(ENVIRONMENT, num_envs=WORLDS)
    observation, _ = envs.reset(seed=seed)
    going, total = np.ones(WORLDS, bool), np.zeros(WORLDS)
    while going.any():
        observation, reward, terminated, truncated, _ = envs.step(act(observation))
        total += going * reward
        going &= ~(terminated | truncated)
    return float(total.mean())


def _solve_ours(name: str, seed: int) -> tuple[float, float]:
    agent, clock = _ours(name, seed), _Clock()
    act = lambda observation: agent.predict(observation, deterministic=True)[0]  # noqa: E731
    agent.learn(ALGORITHMS[name].steps, callback=lambda learner, metrics: not clock.look(learner.num_timesteps, act))
    return clock.found


def _solve_theirs(name: str, seed: int) -> tuple[float, float]:
    from stable_baselines3.common.callbacks import BaseCallback

    model, clock = _theirs(name, seed), _Clock()

    class Look(BaseCallback):
        def _on_step(self) -> bool:
            return not clock.look(self.num_timesteps, lambda observation: model.predict(observation, deterministic=True)[0])

    with contextlib.redirect_stdout(io.StringIO()):
        model.learn(ALGORITHMS[name].steps, callback=Look())
    return clock.found


# --- returns ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """The best agent of a run: in which environment, which algorithm, its return over new episodes, and the run's length."""

    env_id: str
    agent: str
    seed: int
    value: float
    best_at: int
    steps: int


def judge(folder: Path) -> Judged:
    """Deterministic episodes, of another seed than those that chose the best."""
    from mprl.agents.checkpoints import read_config
    from mprl.agents.runs import BEST

    best = folder / BEST if (folder / BEST).is_dir() else folder
    config, last = read_config(best), read_config(folder)
    env_id = config["env_id"] + (" continuous" if config["env_kwargs"].get("continuous") else "")
    found = _read(folder / RESULT, config["num_timesteps"])
    if found is None:
        found = _evaluate(best)
        _write(folder / RESULT, {"num_timesteps": config["num_timesteps"], "return_mean": found})
    return Judged(env_id, config["agent"], config["seed"], found, config["num_timesteps"], last["num_timesteps"])


def _evaluate(folder: Path) -> float:
    from mprl.scripts import evaluate

    print(f"evaluating {folder}")
    return float(evaluate.evaluate_folder(folder, EPISODES, seed=99_991)["return_mean"])


def _read(path: Path, num_timesteps: int) -> float | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["num_timesteps"] == num_timesteps:
            return float(content["return_mean"])
    return None


def _write(path: Path, content: dict[str, Any]) -> None:
    from mprl.scripts.evaluate import write_json

    write_json(path, content)


def _grouped(found: Sequence[Judged]) -> dict[tuple[str, str], list[Judged]]:
    groups: dict[tuple[str, str], list[Judged]] = {}
    for one in sorted(found, key=lambda one: (one.env_id, one.agent, one.seed)):
        group = groups.setdefault((one.env_id, one.agent), [])
        if one.seed in (other.seed for other in group):
            raise SettingError(f"two runs of {one.agent} in {one.env_id} with seed {one.seed}; leave one of them out")
        group.append(one)
    return groups


def _figure(env_id: str, agent: str, group: Sequence[Judged]) -> Figure:
    values = [one.value for one in group]
    return Figure(f"{env_id}_{agent}", f"{env_id}, {agent}", "return", statistics.median(values), rounds={"ours": values}, spread=True)


def _overview(found: Sequence[Judged]) -> Overview:
    rows = []
    for (env_id, agent), group in _grouped(found).items():
        values = sorted(one.value for one in group)
        middle = statistics.median(values)
        published, budget = RL_ZOO.get((env_id, agent), (None, None))
        told = "" if published is None else f"{published:g} at {budget:,}: {'reached' if middle >= published else 'missed'}"
        steps = max(one.steps for one in group)
        rows.append((env_id, agent, str(len(group)), f"{middle:.1f}", f"{values[0]:.1f} to {values[-1]:.1f}", f"{steps:,}", told))
    return Overview(("environment", "agent", "seeds", "return, median", "least to greatest", "steps", "RL Zoo's"), rows)
