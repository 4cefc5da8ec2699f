"""REINFORCE follows the gradient of the book, from whole episodes, as many of each world, with a baseline that changes no mean."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import mprl  # noqa: F401  registers the environments
from mprl.agents import REINFORCE, evaluate
from mprl.errors import SettingError

# ---------------------------------------------------------------------------------------- the short corridor, Example 13.1

BEST = 2 - math.sqrt(2)  # probability of going right
BEST_VALUE = -11.657


def corridor(worlds: int, seed: int, **settings: Any) -> REINFORCE:
    """A policy of two numbers, as in the book, which goes right with probability .05 at first (ε-greedy left with ε = .1)."""
    env = gym.make_vec("mprl/ShortCorridor-v0", worlds, aliased=True)
    plain: dict[str, Any] = dict(hidden=(), gamma=1.0, n_episodes=worlds, optimizer="sgd", max_grad_norm=1e9, normalize_returns=False)
    agent = REINFORCE(env, seed=seed, **plain, **settings)
    agent.model.actor[-1].weight.data.zero_()
    agent.model.actor[-1].bias.data.copy_(torch.tensor([0.95, 0.05]).log())
    return agent


def right(agent: REINFORCE) -> float:
    with torch.no_grad():
        return float(agent.model.policy(torch.ones(1, 1)).log_probabilities[0, 1].exp())


def value(p: float) -> float:
    """Of the start, by the three equations of the book: v0 = -1 + p v1 + (1-p) v0, v1 = -1 + p v0 + (1-p) v2, v2 = -1 + (1-p) v1."""
    return -2 * (2 - p) / (p * (1 - p))


def test_the_book_s_numbers_are_what_they_are_said_to_be():
    assert value(BEST) == pytest.approx(BEST_VALUE, abs=5e-4) and value(0.05) == pytest.approx(-82, abs=1)
    assert max(value(p / 1000) for p in range(1, 1000)) <= value(BEST)


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["none", "constant", "value"])
def test_it_finds_how_often_to_go_right(baseline):
    agent = corridor(64, 0, baseline=baseline, learning_rate=2**-9, vf_coef=4.0).learn(300_000)
    assert right(agent) == pytest.approx(BEST, abs=0.05)
    assert value(right(agent)) == pytest.approx(BEST_VALUE, abs=0.3)


@pytest.mark.slow
def test_a_baseline_makes_it_learn_faster():
    """Figure 13.2. Our policy has each of the book's numbers twice, as a weight and a bias: half the book's step size is as much."""
    plain, with_value = (
        [after_100_episodes(seed, **settings) for seed in range(2)]
        for settings in (
            dict(baseline="none", learning_rate=2**-14),
            dict(
                baseline="value", learning_rate=2**-10, vf_coef=16.0
            ),  # of the value 2⁻⁶: 2⁻¹⁰ x 16, and 2 for the square, 2 for two numbers
        )
    )
    assert max(with_value) > -13 and statistics.median(with_value) > -14
    assert statistics.median(plain) < statistics.median(with_value) - 5


def after_100_episodes(seed: int, **settings: Any) -> float:
    """Mean value of the policies after 100 to 150 episodes, one after the other."""
    values: list[float] = []
    corridor(1, seed, **settings).learn(1e9, callback=lambda agent, _: values.append(value(right(agent))) or len(values) < 150)
    return statistics.fmean(values[100:])


# ----------------------------------------------------------------------------------------------------------------- its update


class Dice(gym.Env[Any, Any]):
    """Steps are worth what the action says times how many there were; the last comes by a throw of the dice, or in step 7."""

    observation_space = gym.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.normal(size=2).astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        over = self.np_random.random() < 0.2
        return self.np_random.normal(size=2).astype(np.float32), float(action * self.steps), bool(over), self.steps == 7, {}


@pytest.mark.parametrize(("discount_gradient", "baseline"), [(False, "none"), (True, "none"), (False, "value")])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_its_step_is_the_book_s(mode, discount_gradient, baseline):
    """13.8, and 13.11 with a baseline, which is taken off G_t: the mean over the episodes of Σ γ^t G_t ∇ ln π.

    The policy is linear, so its ∇ ln π is (one-hot - π) x (exercise 13.3).
    """
    agent = REINFORCE(
        SyncVectorEnv([Dice] * 3, autoreset_mode=mode), hidden=(), gamma=0.9, n_episodes=6, baseline=baseline, optimizer="sgd",
        learning_rate=0.1, max_grad_norm=1e9, normalize_returns=False, discount_gradient=discount_gradient,
    )  # fmt: skip
    rollout = agent._act()
    weight, bias = (parameter.detach().double().numpy().copy() for parameter in agent.model.actor[0].parameters())
    episodes = list(played(rollout))
    assert len(episodes) == 6
    gradient = np.zeros_like(weight)
    for steps, last_value in episodes:
        for t, (x, action, _, worth) in enumerate(steps):
            rewards = [reward for _, _, reward, _ in steps[t:]]
            goal = sum(0.9**k * reward for k, reward in enumerate(rewards)) + 0.9 ** len(rewards) * last_value
            goal -= worth if baseline == "value" else 0.0
            odds = np.exp(weight @ x + bias)
            gradient += (0.9**t if discount_gradient else 1) * goal * np.outer(np.eye(3)[action] - odds / odds.sum(), x) / 6
    agent._improve(rollout)
    np.testing.assert_allclose(agent.model.actor[0].weight.detach().numpy(), weight + 0.1 * gradient, rtol=1e-4, atol=1e-5)


def test_a_constant_baseline_knows_the_returns_of_earlier_iterations_alone():
    agent = REINFORCE(Dice(), baseline="constant", baseline_decay=0.5)
    found = [float(agent._constant(torch.tensor(returns))) for returns in ([1.0, 3.0], [5.0, 5.0], [0.0, 0.0])]
    assert found == [0.0, 2.0, pytest.approx((0.25 * 2 + 0.5 * 5) / 0.75)]


def test_an_entropy_bonus_makes_actions_more_alike():
    agent = REINFORCE(Countdown(5), hidden=(), optimizer="sgd", learning_rate=1e-3, ent_coef=100.0, max_grad_norm=1e9, baseline="value")
    agent.model.actor[-1].bias.data.copy_(torch.tensor([1.0, -1.0]))
    agent.learn(1)
    first, second = agent.model.actor[-1].bias.tolist()
    assert 0 < first - second < 1.9  # 2 at first


def played(rollout: Any) -> Any:
    """Episodes of a rollout: steps (x, action, reward, value of x), and the value after them, 0 where they terminated."""
    for world in range(rollout.reward.shape[1]):
        steps = []
        for t in range(len(rollout.reward)):
            if rollout.valid[t, world]:
                taken = int(rollout.action[t, world]), float(rollout.reward[t, world]), float(rollout.value[t, world])
                steps.append((rollout.features[t, world].double().numpy(), *taken))
            if rollout.terminated[t, world] or rollout.truncated[t, world]:
                yield steps, 0.0 if rollout.terminated[t, world] else float(rollout.next_value[t, world])
                steps = []
        assert not steps


# --------------------------------------------------------------------------------------------------------------- whole episodes


class Countdown(gym.Env[Any, Any]):
    """Episodes of a given length; each step is worth 1."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int) -> None:
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.zeros(1, np.float32), 1.0, self.steps == self.length, False, {}


@pytest.mark.parametrize("mode", AutoresetMode)
def test_every_world_plays_as_many_whole_episodes_and_what_it_does_while_it_waits_is_not_learned_from(mode):
    lengths = (2, 3, 7)
    envs = SyncVectorEnv([lambda length=length: Countdown(length) for length in lengths], autoreset_mode=mode)
    agent, seen = REINFORCE(envs, n_episodes=4, hidden=(4,), seed=0), []  # 4 episodes over 3 worlds: 2 in each
    agent.learn(1, callback=lambda _, metrics: seen.append(metrics))
    steps = 14 + (mode == AutoresetMode.NEXT_STEP)  # of the slowest world; one that only resets
    assert seen[0]["timesteps"] == agent.num_timesteps == 3 * steps
    assert seen[0]["episodes"] == 6 and seen[0]["return"] == seen[0]["episode_length"] == pytest.approx(4) and seen[0]["reward"] == 1
    agent.observation = None
    rollout = agent._act()
    assert rollout.valid.sum(0).tolist() == [2 * length for length in lengths]
    assert rollout.terminated.sum(0).tolist() == [2, 2, 2] and not rollout.truncated.any()


def test_steps_are_counted_as_they_were_taken():
    agent, told = REINFORCE(gym.make("CartPole-v1"), seed=0, n_episodes=2), []
    agent.learn(1_000, callback=lambda agent, metrics: told.append((metrics["timesteps"], agent.crossed(200))))
    steps = [0, *(each for each, _ in told)]
    assert len({after - before for before, after in pairwise(steps)}) > 5
    assert [crossed for _, crossed in told] == [after // 200 > before // 200 for before, after in pairwise(steps)]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_episodes_without_an_end_are_cut_off(mode):
    envs = SyncVectorEnv([lambda: Countdown(10**9), lambda: Countdown(3)], autoreset_mode=mode)
    agent = REINFORCE(envs, n_episodes=4, max_steps=50, hidden=(4,), seed=0).learn(100)
    assert agent.num_timesteps == 100
    rollout = agent._act()
    assert rollout.truncated.sum(0).tolist() == [1, 0] and bool(rollout.truncated[-1, 0]) and rollout.terminated.sum(0).tolist() == [0, 2]


# ------------------------------------------------------------------------------------------------------------------ the same again


@pytest.mark.slow
def test_cartpole_is_balanced_by_the_preset():
    preset = REINFORCE.training_preset("CartPole-v1")
    agent = REINFORCE(gym.make_vec("CartPole-v1", preset["num_envs"]), seed=1)
    for _ in range(5):
        found = evaluate(agent.learn(preset["steps"] // 5), gym.make_vec("CartPole-v1", 8), episodes=16, seed=1000)["return_mean"]
        if found >= 475:
            break
    assert found >= 475


def test_what_is_loaded_learns_on_to_the_same_bits(tmp_path):
    make = lambda: SyncVectorEnv([Dice] * 2, autoreset_mode=AutoresetMode.SAME_STEP)  # noqa: E731
    agent = REINFORCE(make(), hidden=(4,), baseline="constant", normalize_observations=True, seed=3).learn(200)
    agent.save(tmp_path, training=True)
    loaded = REINFORCE.load(tmp_path, make())
    assert agent.learn(300).num_timesteps == loaded.learn(300).num_timesteps
    assert torch.equal(agent.parameters.vector, loaded.parameters.vector) and torch.equal(agent._mean_return, loaded._mean_return)
    assert torch.equal(agent.model.observations.mean, loaded.model.observations.mean)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"baseline": "mean"}, "baseline must be one of none, constant, value, found 'mean'"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of adam, sgd, found 'rmsprop'"),
        ({"n_episodes": 0}, "n_episodes must be positive"),
        ({"baseline_decay": 2.0}, r"baseline_decay must be in \[0, 1\]"),
        ({"n_steps": 5}, "reinforce has no setting 'n_steps'"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, says):
    with pytest.raises(SettingError, match=says):
        REINFORCE(gym.make("CartPole-v1"), **settings)
