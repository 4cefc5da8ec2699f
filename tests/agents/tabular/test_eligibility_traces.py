"""TD(λ) (Sutton & Barto, chapter 12): what it is equal to, and how well it does."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mprl  # noqa: F401  registers the environments
from mprl.agents import TD0, TDLambda
from mprl.agents.tabular.eligibility_traces import shared_step_size, traced
from mprl.errors import SettingError

TRUTH = np.arange(-18, 20, 2) / 20


class Told(gym.Env[Any, Any]):
    """An episode as it is told, again and again: states, and the rewards between them; the last state is terminal."""

    action_space = gym.spaces.Discrete(1)

    def __init__(self, states: list[int], rewards: list[float]) -> None:
        self.states, self.rewards = states, rewards
        self.observation_space = gym.spaces.Discrete(max(states) + 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.at = 0
        return self.states[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        return self.states[self.at], self.rewards[self.at - 1], self.at == len(self.rewards), False, {}


@pytest.mark.parametrize(("kind", "expected"), [("accumulating", 1.5), ("replacing", 1.0), ("dutch", 1.25)])
def test_the_trace_of_a_state_that_is_left_twice(kind, expected):
    """γλ = 1/2, α = 1/2: 1/2 + 1; 1; (1 - 1/2) 1/2 + 1."""
    trace = np.zeros(3)
    for _ in range(2):
        traced(trace, np.array([1]), 0.5, kind, 0.5)
    assert trace.tolist() == [0.0, expected, 0.0]


@pytest.mark.parametrize("trace", ["accumulating", "replacing", "dutch"])
@pytest.mark.parametrize("tables", ["shared", "independent"])
def test_without_lambda_it_is_td_0(tables, trace):
    walks = lambda: gym.make_vec("mprl/RandomWalk-v0", num_envs=4)  # noqa: E731
    settings = dict(tables=tables, learning_rate=0.3, gamma=0.9)
    expected = TD0(walks(), **settings).learn(3000).values
    found = TDLambda(walks(), lambda_=0.0, trace=trace, **settings).learn(3000).values
    assert np.allclose(found, expected, atol=1e-12) if trace == "dutch" or tables == "shared" else np.array_equal(found, expected)


def test_with_lambda_1_it_is_monte_carlo():
    """Where no state comes twice in an episode, TD(1) moves each value by α of its error of the whole return (section 12.2).

    Rewards 1, 2, 4 and γ = 1/2: returns 3, 4, 4; α = 1/2 twice makes 3/4 of them.
    """
    agent = TDLambda(Told([0, 1, 2, 3], [1.0, 2.0, 4.0]), lambda_=1.0, gamma=0.5, learning_rate=0.5, iteration_steps=6).learn(6)
    assert agent.values.tolist() == [2.25, 3.0, 3.0, 0.0]


def online_lambda_returns(states: list[int], rewards: list[float], gamma: float, lambda_: float, alpha: float, size: int) -> Any:
    """The online λ-return algorithm (section 12.4): at each horizon h all updates of the episode are made anew. Weights after it."""
    values = [np.zeros(size)]  # the bootstrapped values: those at the end of each horizon
    for h in range(1, len(states)):
        new = np.zeros(size)
        for t in range(h):
            returns = []
            for n in range(1, h - t + 1):
                bootstrap = 0.0 if t + n == len(rewards) else values[t + n - 1][states[t + n]]
                returns.append(sum(gamma**k * rewards[t + k] for k in range(n)) + gamma**n * bootstrap)
            truncated = sum((1 - lambda_) * lambda_**i * g for i, g in enumerate(returns[:-1])) + lambda_ ** (h - t - 1) * returns[-1]
            new[states[t]] += alpha * (truncated - new[states[t]])
        values.append(new)
    return values[-1]


def test_true_online_td_lambda_is_the_online_lambda_return_algorithm():
    """The theorem of van Seijen et al. (2016), with states that come again."""
    states, rewards = [0, 1, 0, 2, 1, 1, 3], [1.0, -2.0, 0.5, 3.0, 1.0, 2.0]
    agent = TDLambda(Told(states, rewards), lambda_=0.7, gamma=0.9, learning_rate=0.4, trace="dutch", iteration_steps=6).learn(6)
    assert np.allclose(agent.values, online_lambda_returns(states, rewards, 0.9, 0.7, 0.4, 4), atol=1e-12)


def test_worlds_that_share_a_value_move_it_as_that_many_updates():
    """Three equal traces at α = 1/2: 1 - (1/2)³ = 7/8, a third of that each; a single one: α."""
    trace = np.array([[0.3, 0.0, 1.0], [0.3, 2.0, 0.0], [0.3, 0.0, 0.0]])
    assert shared_step_size(trace, 0.5).tolist() == pytest.approx([7 / 24, 0.5, 0.5])


@pytest.mark.slow
@pytest.mark.parametrize(("trace", "alpha", "least", "most"), [("accumulating", 0.3, 0.25, 0.27), ("dutch", 0.4, 0.24, 0.26)])
def test_random_walk_of_19_states(trace, alpha, least, most, errors_at):
    """Figures 12.6 and 12.8: the best intermediate λ, .8, reaches about .25, n-step methods .26 and one step .34; 250 runs."""
    look = errors_at(range(1, 11), TRUTH)
    walks = gym.make_vec("mprl/RandomWalk-v0", num_envs=250, states=19, left_reward=-1.0)
    settings = dict(gamma=1.0, tables="independent", iteration_steps=1)
    TDLambda(walks, lambda_=0.8, trace=trace, learning_rate=alpha, **settings).learn(1e9, callback=look)
    assert least < look.errors.mean() < most


def test_settings_that_cannot_be_are_refused():
    env = Told([0, 1], [1.0])
    for settings, message in ((dict(lambda_=1.5), "lambda_ must be in"), (dict(trace="eager"), "trace must be accumulating or")):
        with pytest.raises(SettingError, match=message):
            TDLambda(env, **settings)
    with pytest.raises(SettingError, match="td-lambda needs a learning_rate"):
        TDLambda(env, learning_rate=None)
