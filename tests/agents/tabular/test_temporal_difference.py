"""The examples of Sutton & Barto, chapter 6. Each figure says how many runs it is the mean of.

All runs of a figure are worlds of one agent with independent tables. A band is four standard errors, and half a unit of the last digit
of the known answer.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mprl  # noqa: F401  registers the environments
from mprl.agents import TD0, DoubleQLearning, ExpectedSarsa, QLearning, Sarsa
from mprl.agents.tabular.behaviour import choices, epsilon_greedy, expected_value, rank
from mprl.agents.tabular.episodes import EpisodeLog
from mprl.agents.tabular.tables import Updates
from mprl.agents.tabular.temporal_difference import td_target

TRUTH = np.arange(1, 6) / 6  # of the random walk, Example 6.2


# --- update rules, by hand ----------------------------------------------------------------------------------------------------


def test_the_target_is_the_reward_alone_only_where_the_episode_ended():
    target = td_target(np.array([1.0, 1.0]), np.array([10.0, 10.0]), np.array([False, True]), 0.9)
    assert target.tolist() == [10.0, 1.0]


def test_what_epsilon_greedy_actions_are_worth():
    """(1 - ε) max + ε mean: .8 x 4 + .2 x (1 + 4 + 4 + 3) / 4 = 3.8; an action that may not be chosen does not count."""
    q = np.array([[1.0, 4.0, 4.0, 3.0], [2.0, 2.0, -np.inf, -np.inf]])
    assert expected_value(rank(q[:1], choices(q[:1])), 0.2).tolist() == pytest.approx([3.8])
    assert expected_value(rank(q, choices(q)), 0.2).tolist() == pytest.approx([3.8, 2.0])


def test_epsilon_greedy_explores_with_probability_epsilon_and_breaks_ties_at_random():
    """Of the actions [1, 4, 4, 3] with ε = .2: .05, .4 + .05, .45, .05. Where two of four may be chosen: .1 and .9."""
    q = np.array([[1.0, 4.0, 4.0, 3.0], [2.0, 3.0, -np.inf, -np.inf]])
    n = 200_000
    uniform = (np.arange(n) + 0.5) / n  # every hundredth of the way once: frequencies are exact
    for row, expected in ((0, [0.05, 0.45, 0.45, 0.05]), (1, [0.1, 0.9, 0.0, 0.0])):
        action = epsilon_greedy(rank(q, choices(q)), np.full(n, row), 0.2, uniform)
        assert np.bincount(action, minlength=4) / n == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_the_largest_and_smallest_random_numbers_choose_an_action_too(epsilon):
    q = np.zeros((2, 3))
    uniform = np.array([0.0, np.nextafter(epsilon, 0) if epsilon else 0.0, min(epsilon, np.nextafter(1, 0)), np.nextafter(1, 0)])
    action = epsilon_greedy(rank(q, 3), np.array([1, 1, 1, 1]), epsilon, uniform)
    assert ((action >= 0) & (action < 3)).all()


@pytest.mark.parametrize("entries", [4, 1000])
def test_worlds_that_share_an_entry_move_it_as_that_many_updates_would(entries):
    """Three targets of mean 4 at α = .5 move 0 by 1 - .5³ = 7/8 of the way: 3.5; a single one of 8 moves 0 to 4."""
    values = np.zeros(entries)
    updates = Updates(distinct=False)
    updates.begin(0.5)
    updates(values, np.array([1, 3, 1, 1]), np.array([2.0, 8.0, 4.0, 6.0]), np.zeros(0))
    assert values[[0, 1, 2, 3]].tolist() == [0.0, 3.5, 0.0, 4.0]


@pytest.mark.parametrize("entries", [4, 1000])
@pytest.mark.parametrize("distinct", [True, False])
def test_sample_averages_are_the_mean_of_all_targets(entries, distinct):
    values, counts = np.full(entries, 100.0), np.zeros(entries, np.int64)
    updates = Updates(distinct)
    updates.begin(None)
    rounds = [([1], [5.0]), ([1], [1.0]), ([2], [7.0])] if distinct else [([1, 2, 1], [5.0, 7.0, 1.0])]
    for index, target in rounds:
        updates(values, np.array(index), np.array(target), counts)
    assert values[:4].tolist() == [100.0, 3.0, 7.0, 100.0] and counts[:4].tolist() == [0, 2, 1, 0]


# --- figures ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "curve"), [(0.05, {10: 0.175, 25: 0.110, 100: 0.035}), (0.1, {10: 0.129, 25: 0.056, 100: 0.055})])
def test_random_walk(alpha, curve, errors_at, within):
    """Example 6.2, right: RMS error of TD(0), averaged over the states, 400 runs. At first it is .236."""
    look = errors_at(tuple(curve), TRUTH)
    env = gym.make_vec("mprl/RandomWalk-v0", num_envs=400)
    agent = TD0(env, learning_rate=alpha, gamma=1.0, initial_value=0.5, tables="independent", iteration_steps=1)
    assert np.sqrt(((agent.values[0, 1:-1] - TRUTH) ** 2).mean()) == pytest.approx(0.236, abs=5e-4)
    agent.learn(1e7, callback=look)
    for found, expected in zip(look.errors.T, curve.values(), strict=True):
        within(found, expected, 5e-4)


def returns(kind: Any, runs: int, episodes: int, env: str = "mprl/Cliff-v0", **settings: Any) -> Any:
    log = EpisodeLog(episodes)
    envs = gym.make_vec(env, num_envs=runs)
    kind(envs, gamma=1.0, tables="independent", iteration_steps=32, **settings).learn(1e9, callback=log)
    return log.returns


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "expected"), [(QLearning, -49.8), (Sarsa, -26.5), (ExpectedSarsa, -20.8)])
def test_cliff(kind, expected, within):
    """Example 6.6: mean return of episodes 401 to 500, α = .5, ε = .1, 100 runs: SARSA keeps away from the edge."""
    found = returns(kind, runs=100, episodes=500, learning_rate=0.5, epsilon=0.1)[:, 400:].mean(axis=1)
    within(found, expected, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "at_20", "at_100", "at_300"), [(QLearning, 94, None, 12), (DoubleQLearning, None, 9, 7)])
def test_maximization_bias(kind, at_20, at_100, at_300, within):
    """Figure 6.5: how often left is chosen, which costs .1 on average; ε = .1, α = .1; 4000 runs."""
    log = EpisodeLog(300)
    envs = gym.make_vec("mprl/MaximizationBias-v0", num_envs=4000)
    kind(envs, gamma=1.0, learning_rate=0.1, epsilon=0.1, tables="independent", iteration_steps=32).learn(1e9, callback=log)
    left = 100.0 * (log.lengths == 2)  # by way of B
    assert left[:, 0].mean() == pytest.approx(50, abs=2)
    for episode, expected in ((20, at_20), (100, at_100), (300, at_300)):
        if expected is not None:
            within(left[:, episode - 1], expected, 0.5)
