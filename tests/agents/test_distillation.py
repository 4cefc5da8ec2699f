"""DAgger: experts with a closed form are recovered, each in its own worlds, and what comes out is an agent of PPO."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor

from mprl.agents import PPO, load_agent
from mprl.agents.distillation import Distillation
from mprl.errors import MprlError

WEIGHTS = torch.tensor([[0.3, -0.1], [0.2, 0.4], [-0.25, 0.1]])


class Drift(gym.vector.VectorEnv[Any, Any, Any]):
    """Points that go where the actions push them, and noise; half of the worlds are of kind 0, which a sign in the observation tells."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int = 32, most: float = np.inf) -> None:
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.single_action_space = gym.spaces.Box(-most, most, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.kind = torch.arange(num_envs) % 2

    def _see(self) -> np.ndarray:
        return np.concatenate((self.place, np.where(self.kind == 0, 1.0, -1.0)[:, None]), axis=1).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.np_random.standard_normal((self.num_envs, 2))
        return self._see(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.place = 0.5 * self.place + actions + self.np_random.standard_normal((self.num_envs, 2))
        return self._see(), -np.square(self.place).sum(axis=1), *np.zeros((2, self.num_envs), bool), {}


def linear(observation: Tensor) -> Tensor:
    return observation @ WEIGHTS


def other(observation: Tensor) -> Tensor:
    return 0.5 - observation[:, :2]


def student(env: Drift, experts: Any = (linear,), expert_of: Any = None, **options: Any) -> Distillation:
    settings: dict[str, Any] = dict(hidden=(), n_steps=8, batch_size=64, n_epochs=2, learning_rate="linear 2e-2 1e-4 5000")
    settings |= {"target_kl": None, "normalize_observations": False}
    which = expert_of or (lambda: torch.zeros(env.num_envs, dtype=torch.long))
    return Distillation(env, experts, which, **{**settings, "expert_share": "linear 1 0 1000", "memory": 2000, **options})


@pytest.mark.slow
def test_a_linear_expert_is_recovered_by_a_linear_student():
    agent = student(Drift()).learn(6_000)
    assert torch.allclose(agent.model.actor[-1].weight.T, WEIGHTS, atol=1e-3)
    assert torch.allclose(agent.model.actor[-1].bias, torch.zeros(2), atol=1e-3)


def test_actions_are_learned_in_the_range_that_the_student_acts_in():
    """The environment's actions go to 4, the student's to 1."""
    agent = student(Drift(most=4.0)).learn(5_000)
    observation = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(agent.act(observation, deterministic=True), linear(observation).clamp(-4, 4), atol=2e-2)


def test_each_world_is_taught_by_its_own_expert():
    """One network becomes two experts, which it tells apart by what it sees; the error on states it never saw falls to nearly nothing."""
    env = Drift()
    agent = student(env, (linear, other), lambda: env.kind, hidden=(32,), activation="tanh")
    random = torch.Generator().manual_seed(1)
    held_out = torch.cat((torch.randn(200, 2, generator=random), torch.tensor([1.0, -1.0]).repeat(100).unsqueeze(1)), dim=1)
    wanted = torch.where(held_out[:, 2:] > 0, linear(held_out), other(held_out))

    def error() -> float:
        return float((agent.act(held_out, deterministic=True) - wanted).square().mean())

    before = error()
    assert error() < 0.02 * before or (agent.learn(8_000) and error() < 0.02 * before)


def test_the_experts_act_by_their_share():
    """With a share of 1 every action is the expert's, with 0 none is."""
    for share, told in ((1.0, 1.0), (0.0, 0.0), (0.25, 0.25)):
        env = Drift(200)
        agent = student(env, (lambda observation: torch.full((len(observation), 2), 7.0),), expert_share=share, n_steps=20)
        agent.observation = agent._first_observation()
        actions = agent._act().action
        assert (actions == 7.0).all(dim=-1).float().mean() == pytest.approx(told, abs=0.03)


def test_the_oldest_samples_make_room():
    agent = student(Drift(), memory=5)
    for first in (0, 3):
        rows = torch.arange(first, first + 3).float().unsqueeze(1)
        agent._keep(rows.expand(-1, 3), rows.expand(-1, 2))
    kept = agent._kept
    assert kept is not None and kept[0][:, 0].tolist() == [5, 1, 2, 3, 4] and agent._filled == 5


def test_what_is_saved_is_an_agent_of_ppo_that_learns_on(tmp_path):
    env = Drift()
    agent = student(env, hidden=(8,)).learn(600)
    agent.save(tmp_path / "run", training=True)
    loaded = load_agent(tmp_path / "run", Drift())
    assert type(loaded) is PPO and loaded.num_timesteps == agent.num_timesteps
    observation = torch.randn(5, 3)
    assert torch.equal(loaded.act(observation, deterministic=True), agent.act(observation, deterministic=True))
    loaded.learn(300)


def test_the_value_learns_along():
    """Returns are predicted when the student takes over, so that PPO's first advantages mean something."""
    told: list[float] = []
    student(Drift(), hidden=(16,), gamma=0.5).learn(5_000, callback=lambda agent, metrics: told.append(metrics["explained_variance"]))
    assert np.mean(told[-5:]) > 0.3 > told[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"experts": ()}, "at least one expert"),
        ({"expert_share": 1.5}, "expert_share must be in"),
        ({"memory": 0}, "memory must be at least 1"),
        ({"recurrent": "gru"}, "recurrent"),
    ],
)
def test_mistakes_are_one_line(options, words):
    with pytest.raises(MprlError, match=words):
        student(Drift(), **options)


def test_actions_must_be_numbers():
    env = Drift()
    env.single_action_space, env.action_space = gym.spaces.Discrete(3), gym.spaces.MultiDiscrete([3] * env.num_envs)
    with pytest.raises(MprlError, match="in a Box"):
        student(env)
