"""The loops that tabular learning is measured beside learn as well, and the figures are all there."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import mprl  # noqa: F401  registers the environments
from mprl.scripts.benchmarks import plain_loops, tabular_learning


@pytest.fixture
def walk():
    return gym.make("mprl/RandomWalk-v0").unwrapped


@pytest.mark.parametrize("faster", [False, True])
def test_the_loop_of_td_0_learns_the_random_walk(walk, faster):
    """Example 6.2: after 100 episodes the RMS error is .035 on average, .236 at first."""
    errors = []
    for seed in range(10):
        values, steps = plain_loops.td0(plain_loops.LookUp(walk, seed) if faster else walk, 0.05, seed)
        plain_loops.episodes(steps, 100)
        errors.append(np.sqrt(np.mean((np.array(values[1:6]) - np.arange(1, 6) / 6) ** 2)))
    assert np.mean(errors) == pytest.approx(0.035, abs=0.015)


@pytest.mark.parametrize("kind", ["sarsa", "expected-sarsa", "q-learning"])
def test_the_loops_of_control_learn_the_cliff(kind):
    """Q-learning's way along the edge is worth -45.80 with ε = .1, or less as equal actions fall; the others' at best -20.71."""
    cliff = plain_loops.LookUp(gym.make("mprl/Cliff-v0").unwrapped)
    table, steps = plain_loops.control(cliff, kind, 0.1, 0.1, seed=0)
    plain_loops.advance(steps, 100_000)
    worth = tabular_learning._worth_of_epsilon_greedy()(np.array(table))
    assert -55 < worth < -44 if kind == "q-learning" else -24 < worth < -20.70


def test_what_acting_greedily_is_worth_is_exact():
    """Along the edge with ε = 0: 13 steps. Acting at random: far less."""
    env = gym.make("mprl/Cliff-v0").unwrapped
    best = np.zeros((48, 4))
    best[36, 0] = best[24:35, 1] = best[35, 2] = 1.0
    best[[s for s in range(24) if s % 12 != 11], 1] = best[[11, 23], 2] = 1.0
    assert tabular_learning._worth_of_epsilon_greedy(0.0)(best) == pytest.approx(-13.0)
    assert tabular_learning._worth_of_epsilon_greedy(1.0)(best) < -1000 and env.num_states == 48


@pytest.mark.slow
def test_the_benchmark_of_tabular_learning_runs(mprl, monkeypatch):  # noqa: F811
    monkeypatch.setattr(tabular_learning, "STEP_SIZES", (0.1,))
    monkeypatch.setattr(tabular_learning, "PATIENCE", 0.2)
    for name, small in (("WALK_ERRORS", (0.1,)), ("CLIFF_RETURNS", (-60.0,)), ("WALK_RUNS", (20, 2)), ("CLIFF_RUNS", (4, 1))):
        monkeypatch.setattr(tabular_learning, name, small)
    words = ("--parts", "learning", "--num-envs", "64", "--seeds", "1", "--seconds", "0.1", "--json", "figures.json")
    done = mprl("benchmark", "tabular", *words)
    assert done.code == 0, done.err
    found = json.loads(Path("figures.json").read_text())["figures"]
    assert {"td0_steps", "q-learning_steps", "td0_to_0.1", "sarsa_to_-60", "td0_experiment", "sarsa_experiment"} <= set(found)
    assert all(figure["ours"] > 0 and figure["peer"] > 0 for figure in found.values())
