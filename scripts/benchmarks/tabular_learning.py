"""Tabular learning in many worlds at once, beside the same algorithms as a plain Python loop over one environment.

Steps per second; the time to one table of a given quality; and that of a whole experiment of the book, all its runs at once. All are one
thread of plain computing, so that the time is the processor's: the wall time, but for what else the machine is doing.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from mprl.agents import TD0, ExpectedSarsa, QLearning, Sarsa
from mprl.agents.tabular.episodes import EpisodeLog
from mprl.scripts.benchmarks import plain_loops
from mprl.scripts.benchmarks.report import Figure, alternate, medians

WALK, CLIFF = "mprl/RandomWalk-v0", "mprl/Cliff-v0"
KINDS: dict[str, tuple[type[Any], str]] = {
    "td0": (TD0, WALK),
    "sarsa": (Sarsa, CLIFF),
    "expected-sarsa": (ExpectedSarsa, CLIFF),
    "q-learning": (QLearning, CLIFF),
}
WALK_VALUES = np.arange(1, 6) / 6
WALK_ERRORS = (0.01, 0.005, 0.002)  # RMS, from rough to fine
CLIFF_RETURNS = (-22.0, -20.76)  # of acting ε-greedily, from rough to fine; the best ε-soft policy has -20.71
STEP_SIZES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002)
WALK_RUNS, CLIFF_RUNS = (2000, 20), (2000, 5)  # of the experiments, and how many of them the loop makes
FASTER, STEPS_FASTER = 20.0, 50.0  # what is asked for
PATIENCE = 2.0  # s; a step size that takes longer is too large or too small


def figures(worlds: int, seeds: int, seconds: float) -> list[Figure]:
    """All figures.

    Args:
        worlds: copies of the environment of one table.
        seeds: runs to a table of the asked-for quality.
        seconds: for each comparison of steps per second.
    """
    speeds = [_speed(name, worlds, seconds) for name in KINDS]
    times = [_to_quality(goal, worlds, seeds) for goal in (*_walk_goals(), *_cliff_goals())]
    return [*speeds, *times, _walk_experiment(), _cliff_experiment()]


# --- steps per second -----------------------------------------------------------------------------------------------------------


def _loop(name: str, env: Any, alpha: float, seed: int) -> tuple[Any, Iterator[int]]:
    return plain_loops.td0(env, alpha, seed) if name == "td0" else plain_loops.control(env, name, alpha, 0.1, seed)


def _single(env_id: str) -> Any:
    return gym.make(env_id).unwrapped


def _speed(name: str, worlds: int, seconds: float) -> Figure:
    kind, env_id = KINDS[name]
    agent = kind(gym.make_vec(env_id, num_envs=worlds), gamma=1.0)
    plain, table = (_loop(name, env, 0.1, 0)[1] for env in (_single(env_id), plain_loops.LookUp(_single(env_id))))
    ways = {
        "ours": lambda: _rate(lambda: agent.learn(256 * worlds), 256 * worlds),
        "loop": lambda: _rate(lambda: plain_loops.advance(plain, 20_000), 20_000),
        "loop over a table": lambda: _rate(lambda: plain_loops.advance(table, 100_000), 100_000),
    }
    rates = alternate(ways, seconds)
    found = medians(rates)
    against = (
        f"peer: a Python loop over one {env_id}; looking transitions up in lists in its place it makes {found['loop over a table']:,.0f}"
    )
    what = f"{name}, {worlds} worlds, one table"
    return Figure(
        f"{name}_steps", what, "1/s", found["ours"], found["loop"], against=against, target=("ratio_to_peer", STEPS_FASTER), rounds=rates
    )


def _rate(work: Callable[[], Any], steps: int) -> float:
    began = time.process_time()
    work()
    return steps / (time.process_time() - began)


# --- time to a quality ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """A quality that a table is to reach.

    Attributes:
        key, what: of the figure.
        learner: one of `KINDS`.
        good: whether a table has it.
        settings: of our learner.
        finest: of several, the one that a target is for.
    """

    key: str
    what: str
    learner: str
    good: Callable[[Any], bool]
    settings: Mapping[str, Any]
    finest: bool


def _walk_goals() -> list[Goal]:
    def error(values: Any) -> float:
        return float(np.sqrt(np.mean((np.asarray(values)[1:6] - WALK_VALUES) ** 2)))

    def goal(most: float) -> Goal:
        what, finest = f"time to an RMS error of {most:g} on the random walk", most == min(WALK_ERRORS)
        return Goal(f"td0_to_{most:g}", what, "td0", lambda values: error(values) <= most, {"initial_value": 0.5}, finest)

    return [goal(most) for most in WALK_ERRORS]


def _cliff_goals() -> list[Goal]:
    worth = _worth_of_epsilon_greedy()

    def goal(least: float) -> Goal:
        what, finest = f"time to a return of {least:g} on the cliff", least == max(CLIFF_RETURNS)
        return Goal(f"sarsa_to_{least:g}", what, "sarsa", lambda table: worth(np.asarray(table)) >= least, {"epsilon": 0.1}, finest)

    return [goal(least) for least in CLIFF_RETURNS]


def _to_quality(goal: Goal, worlds: int, seeds: int) -> Figure:
    """The time until a table is good, each way with what is best for it; looking at the table is not counted."""
    kind, env_id = KINDS[goal.learner]
    single = _single(env_id)

    def ours(chosen: tuple[float, int], seed: int, patience: float = PATIENCE) -> float:
        alpha, num_envs = chosen
        settings = {"learning_rate": alpha, "gamma": 1.0, "iteration_steps": 4, **goal.settings}
        agent = kind(gym.make_vec(env_id, num_envs=num_envs), seed=seed, **settings)
        table = "values" if goal.learner == "td0" else "action_values"
        return _until(lambda: agent.learn(1), lambda: goal.good(getattr(agent, table)), patience)

    def loop(chosen: tuple[float, int], seed: int, patience: float = PATIENCE) -> float:
        table, steps = _loop(goal.learner, single, chosen[0], seed)
        return _until(lambda: plain_loops.advance(steps, 500), lambda: goal.good(table), patience)

    ways = {"ours": (ours, itertools.product(STEP_SIZES, (worlds // 4, worlds))), "loop": (loop, itertools.product(STEP_SIZES, (1,)))}
    best = {way: _best(run, choices) for way, (run, choices) in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for seed in range(seeds):
        for way, (run, _) in ways.items():
            times[way].append(1e3 * run(best[way], seed))
    found = medians(times)
    (alpha, num_envs), (its_alpha, _) = best["ours"], best["loop"]
    return Figure(
        goal.key,
        f"{goal.learner}, {goal.what}",
        "ms",
        found["ours"],
        found["loop"],
        against=f"peer: a Python loop over one {env_id}; the best for each: {num_envs} worlds and α {alpha:g}, α {its_alpha:g}",
        less_is_better=True,
        target=("ratio_to_peer", FASTER) if goal.finest else None,
        rounds=times,
        spread=True,
    )


def _best(run: Callable[..., float], choices: Iterable[tuple[float, int]]) -> tuple[float, int]:
    """The choice with the least median time over five runs; one that is far behind is not waited for."""
    times: dict[tuple[float, int], float] = {}
    for chosen in choices:
        patience = min(PATIENCE, 4 * min(times.values(), default=PATIENCE))
        times[chosen] = statistics.median(run(chosen, seed, patience) for seed in range(100, 105))
    return min(times, key=lambda chosen: times[chosen])


def _until(work: Callable[[], Any], good: Callable[[], bool], patience: float) -> float:
    """Seconds of work until it is good, or until patience is at its end."""
    spent = 0.0
    while spent < patience:
        began = time.process_time()
        work()
        spent += time.process_time() - began
        if good():
            break
    return spent


def _worth_of_epsilon_greedy(epsilon: float = 0.1) -> Callable[[Any], float]:
    """What acting ε-greedily by action values is worth on the cliff, exactly; an equal share for equal actions."""
    env = _single(CLIFF)
    states, actions, start = env.num_states, env.num_actions, int(env.initial_state_distrib.argmax())
    leads_to = np.array([[env.P[s][a][0][1] for a in range(actions)] for s in range(states)])
    reward = np.array([[env.P[s][a][0][2] for a in range(actions)] for s in range(states)])

    def worth(action_values: Any) -> float:
        best = action_values == action_values.max(axis=1, keepdims=True)
        policy = (1 - epsilon) * best / best.sum(axis=1, keepdims=True) + epsilon / actions
        policy[env.terminal] = 0.0
        equations = np.eye(states)
        np.subtract.at(equations, (np.arange(states)[:, None], leads_to), policy)
        return float(np.linalg.solve(equations, (policy * reward).sum(axis=1))[start])

    return worth


# --- experiments of the book ------------------------------------------------------------------------------------------------------


def _walk_experiment(episodes: int = 100, alpha: float = 0.05) -> Figure:
    runs, loops = WALK_RUNS

    def ours() -> Any:
        agent = TD0(
            gym.make_vec(WALK, num_envs=runs), learning_rate=alpha, gamma=1.0, initial_value=0.5, tables="independent", iteration_steps=1
        )
        log, errors = EpisodeLog(episodes), np.full(runs, np.nan)

        def look(agent: Any, metrics: dict[str, float]) -> bool:
            go_on = log(agent, metrics)
            world = agent.statistics.ended.world
            done = world[log.count[world] == episodes]
            errors[done] = np.sqrt(((agent.values[done, 1:6] - WALK_VALUES) ** 2).mean(axis=1))
            return go_on

        agent.learn(1e12, callback=look)
        return errors

    def loop() -> Any:
        errors = []
        for seed in range(loops):
            values, steps = plain_loops.td0(_single(WALK), alpha, seed)
            plain_loops.episodes(steps, episodes)
            errors.append(np.sqrt(np.mean((np.array(values[1:6]) - WALK_VALUES) ** 2)))
        return errors

    what = f"td0, {runs} runs of {episodes} episodes of the random walk (Example 6.2)"
    return _experiment("td0_experiment", what, "RMS errors {:.4f} and {:.4f}", ours, loop, runs / loops)


def _cliff_experiment(episodes: int = 500, last: int = 100) -> Figure:
    runs, loops = CLIFF_RUNS

    def ours() -> Any:
        log = EpisodeLog(episodes)
        settings: Any = dict(learning_rate=0.5, epsilon=0.1, gamma=1.0, tables="independent", iteration_steps=32)
        Sarsa(gym.make_vec(CLIFF, num_envs=runs), **settings).learn(1e12, callback=log)
        return log.returns[:, -last:]

    def loop() -> Any:
        found = []
        for seed in range(loops):
            env = _Counting(_single(CLIFF))
            _, steps = plain_loops.control(env, "sarsa", 0.5, 0.1, seed)
            plain_loops.episodes(steps, episodes, lambda env=env: env.end())  # type: ignore[misc]
            found.append(env.returns[-last:])
        return found

    what = f"sarsa, {runs} runs of {episodes} episodes of the cliff (Example 6.6)"
    return _experiment("sarsa_experiment", what, "returns {:.1f} and {:.1f}", ours, loop, runs / loops)


class _Counting:
    """An environment that keeps its episodes' returns."""

    def __init__(self, env: Any) -> None:
        self.observation_space, self.action_space, self.reset = env.observation_space, env.action_space, env.reset
        self.returns: list[float] = []
        self._step, self._total = env.step, 0.0

    def step(self, action: int) -> Any:
        outcome = self._step(action)
        self._total += outcome[1]
        return outcome

    def end(self) -> None:
        self.returns.append(self._total)
        self._total = 0.0


def _experiment(key: str, what: str, quality: str, ours: Callable[[], Any], loop: Callable[[], Any], times: float) -> Figure:
    """Seconds of an experiment; the loop's are those of a part of it, multiplied."""
    measured: dict[str, list[float]] = {"ours": [], "loop": []}
    results: Mapping[str, list[float]] = {"ours": [], "loop": []}
    for _ in range(3):
        for way, work, factor in (("ours", ours, 1.0), ("loop", loop, times)):
            began = time.process_time()
            results[way].append(float(np.mean(work())))
            measured[way].append(factor * (time.process_time() - began))
    found = medians(measured)
    equal = quality.format(*(results[way][0] for way in ("ours", "loop")))
    against = f"peer: a Python loop over one environment, of {1 / times:.2%} of the runs, its time multiplied; {equal}"
    target = ("ratio_to_peer", FASTER)
    return Figure(key, what, "s", found["ours"], found["loop"], against=against, less_is_better=True, target=target, rounds=measured)  # type: ignore[arg-type]
