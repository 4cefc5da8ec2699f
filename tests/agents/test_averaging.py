"""An agent with averaged weights learns as one without, is judged by the average, and goes on exactly."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from mprl.agents import DQN, PPO, SAC
from mprl.errors import SettingError

SMALL = dict(n_steps=16, batch_size=32, n_epochs=2, hidden=(8,), seed=3, learning_rate=1e-2, target_kl=None)


def cartpole() -> gym.vector.VectorEnv:
    return gym.make_vec("CartPole-v1", num_envs=4)


def test_it_learns_the_same_and_is_judged_by_the_average():
    plain, averaging = PPO(cartpole(), **SMALL).learn(640), PPO(cartpole(), averaging="ema 0.9", **SMALL).learn(640)
    for one, other in zip(plain.model.parameters(), averaging.model.parameters(), strict=True):
        assert torch.equal(one, other)
    observation = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    mine = averaging.averaging.average
    expected = mine.policy(mine.features(observation)).mode()
    assert torch.equal(averaging.act(observation, deterministic=True), expected)
    assert not torch.equal(mine.actor[0].weight, averaging.model.actor[0].weight)


def test_a_mean_from_a_step_on_is_the_mean_of_the_weights_after_each_step_of_the_optimiser():
    agent = PPO(cartpole(), averaging="swa 128", **SMALL)
    seen, descend = [], agent._descend
    agent._descend = lambda *slopes: (descend(*slopes), seen.append((agent.num_timesteps, agent.model.actor[0].weight.detach().clone())))[0]
    agent.learn(320)
    expected = torch.stack([weight for steps, weight in seen if steps >= 128]).mean(dim=0)
    torch.testing.assert_close(agent.averaging.average.actor[0].weight.detach(), expected)


def test_it_goes_on_to_the_same_bits(tmp_path):
    one = PPO(cartpole(), averaging="ema 0.9 corrected", **SMALL).learn(256)
    one.save(tmp_path, training=True)
    other = PPO.load(tmp_path, cartpole())
    observation = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    one.learn(256), other.learn(256)
    for a, b in zip(one.averaging.state_dict().values(), other.averaging.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(one.predict(observation, deterministic=True)[0], other.predict(observation, deterministic=True)[0])


OFF_POLICY = {
    DQN: ("CartPole-v1", dict(hidden=(8,), learning_starts=32, iteration_steps=32, batch_size=16, learning_rate=0.01)),
    SAC: ("Pendulum-v1", dict(hidden=(8,), learning_starts=32, iteration_steps=32, batch_size=16, learning_rate=0.01)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", OFF_POLICY)
def test_agents_with_a_memory_are_judged_by_the_average_too_and_go_on_to_the_same_bits(kind, tmp_path):
    env_id, settings = OFF_POLICY[kind]
    make = lambda: gym.make_vec(env_id, num_envs=2)  # noqa: E731
    plain, one = (kind(make(), averaging=setting, **settings).learn(96) for setting in ("none", "ema 0.95"))
    for a, b in zip(plain.model.parameters(), one.model.parameters(), strict=True):
        assert torch.equal(a, b)
    observation = np.random.default_rng(0).normal(size=(200, *one.observation_space.shape)).astype(np.float32)
    assert (plain.predict(observation, deterministic=True)[0] != one.predict(observation, deterministic=True)[0]).any()
    one.save(tmp_path, training=True)
    other = kind.load(tmp_path, make())
    one.learn(64), other.learn(64)
    for a, b in zip(one.averaging.state_dict().values(), other.averaging.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(one.predict(observation, deterministic=True)[0], other.predict(observation, deterministic=True)[0])


def test_another_kind_of_average_is_refused():
    with pytest.raises(SettingError, match="averaging must be 'none'"):
        PPO(cartpole(), averaging="mean")
