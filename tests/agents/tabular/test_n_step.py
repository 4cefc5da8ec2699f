"""n-step methods (Sutton & Barto, chapter 7)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mprl  # noqa: F401  registers the environments
from mprl.agents import TD0, MonteCarlo, NStepSarsa, NStepTD, Sarsa
from mprl.agents.tabular.episodes import EpisodeLog
from mprl.agents.tabular.n_step import n_step_return
from mprl.errors import SettingError

TRUTH = np.arange(-18, 20, 2) / 20  # of the 19 states of Example 7.1


class Corridor(gym.Env[Any, Any]):
    """From 0 to 4 and off the end; leaving state s gives 2^s."""

    observation_space, action_space = gym.spaces.Discrete(6), gym.spaces.Discrete(1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.state = 0
        return 0, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state += 1
        return self.state, 2.0 ** (self.state - 1), self.state == 5, False, {}


def test_the_return_of_n_steps():
    """1 + 4/2 + 8/4 + 16/8 = 7 for γ = 1/2, in each of two worlds."""
    rewards = np.array([[1.0, 1.0], [4.0, 4.0], [8.0, 8.0]])
    assert n_step_return(rewards, np.array([16.0, 0.0]), 0.5).tolist() == [7.0, 5.0]


@pytest.mark.parametrize(
    ("n", "expected"), [(1, [1, 2, 4, 8, 16]), (2, [3, 6, 12, 24, 16]), (3, [7, 14, 28, 24, 16]), (9, [31, 30, 28, 24, 16])]
)
@pytest.mark.parametrize("tables", ["shared", "independent"])
@pytest.mark.parametrize("learner", [NStepTD, NStepSarsa])
def test_after_one_episode_every_state_has_the_sum_of_the_next_n_rewards(learner, tables, n, expected):
    """α = 1, γ = 1, all values 0 at first: each is bootstrapped from one that is still 0."""
    agent = learner(Corridor(), n=n, learning_rate=1.0, gamma=1.0, tables=tables, iteration_steps=5).learn(5)
    assert agent.values.reshape(-1)[:5].tolist() == expected


@pytest.mark.parametrize(("one", "other"), [(NStepTD, TD0), (NStepSarsa, Sarsa)])
def test_one_step_is_the_method_of_one_step(one, other):
    env = "mprl/RandomWalk-v0" if one is NStepTD else "mprl/Cliff-v0"
    settings = dict(tables="independent", learning_rate=0.3, gamma=0.9)
    tables = [kind(gym.make_vec(env, num_envs=5), **settings, **more).learn(4000).table for kind, more in ((one, {"n": 1}), (other, {}))]
    name = "values" if one is NStepTD else "action_values"
    assert np.array_equal(tables[0][name], tables[1][name])


def test_more_steps_than_an_episode_has_are_monte_carlo():
    """Sample averages of whole returns, whatever the states: every-visit Monte Carlo."""
    walks = lambda: gym.make_vec("mprl/RandomWalk-v0", num_envs=3)  # noqa: E731
    settings = dict(tables="independent", learning_rate=None, gamma=0.9, iteration_steps=500)
    n_step = NStepTD(walks(), n=200, **settings).learn(1500)
    whole = MonteCarlo(walks(), task="prediction", visits="every", **settings).learn(1500)
    assert np.allclose(n_step.values, whole.values, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "alpha", "expected"), [(4, 0.4, 0.266), (1, 0.8, 0.346)])
def test_random_walk_of_19_states(n, alpha, expected, errors_at, within):
    """Figure 7.2: RMS error over the first 10 episodes at the best step size, 300 runs."""
    look = errors_at(range(1, 11), TRUTH)
    walks = gym.make_vec("mprl/RandomWalk-v0", num_envs=300, states=19, left_reward=-1.0)
    NStepTD(walks, n=n, learning_rate=alpha, gamma=1.0, tables="independent", iteration_steps=1).learn(1e9, callback=look)
    within(look.errors.mean(axis=1), expected, 5e-4)


@pytest.mark.slow
def test_an_intermediate_n_is_best(errors_at):
    """Figure 7.2: neither one step nor very many; 300 runs of each, at the step size that is best there."""

    def error(n: int, alpha: float) -> float:
        look = errors_at(range(1, 11), TRUTH)
        walks = gym.make_vec("mprl/RandomWalk-v0", num_envs=300, states=19, left_reward=-1.0)
        NStepTD(walks, n=n, learning_rate=alpha, gamma=1.0, tables="independent", iteration_steps=1).learn(1e9, callback=look)
        return float(look.errors.mean())

    best = {n: error(n, alpha) for n, alpha in ((1, 0.8), (4, 0.4), (16, 0.2))}
    assert best[1] - 0.03 > best[4] < best[16] - 0.03


@pytest.mark.slow
def test_four_steps_are_better_than_one_on_the_windy_gridworld():
    """Rewards are carried back faster: the first 50 episodes of Example 6.5 take fewer steps. 50 runs."""
    steps = {}
    for n in (1, 4):
        log = EpisodeLog(50)
        grids = gym.make_vec("mprl/WindyGridworld-v0", num_envs=50)
        NStepSarsa(grids, n=n, learning_rate=0.3, gamma=1.0, tables="independent").learn(1e9, callback=log)
        steps[n] = log.lengths.sum(axis=1)
    assert steps[4].mean() < 0.8 * steps[1].mean()


def test_n_must_be_a_number_of_steps():
    with pytest.raises(SettingError, match="n must be at least 1, found 0"):
        NStepTD(Corridor(), n=0)
