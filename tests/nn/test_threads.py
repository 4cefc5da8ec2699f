"""Small networks learn on one thread."""

from __future__ import annotations

import gymnasium as gym
import pytest
import torch

from mprl.agents import PPO
from mprl.nn import threads
from mprl.nn.mlp import mlp


def test_small_networks_are_worth_one_thread_and_large_ones_all():
    with threads.limited(3):
        assert threads.worth(mlp(4, (64, 64), 2), 256) == 1
        assert threads.worth(mlp(200, (512, 256), 28), 1024) == 3


def test_what_was_allowed_is_allowed_again_afterwards():
    with threads.limited(3):
        with pytest.raises(ValueError), threads.limited(1):
            assert torch.get_num_threads() == 1
            raise ValueError
        assert torch.get_num_threads() == 3


def test_an_agent_with_a_small_network_learns_on_one_thread():
    seen = []
    with threads.limited(2):
        agent = PPO(gym.make("CartPole-v1"), n_steps=8, batch_size=8, hidden=(8,))
        agent.learn(8, callback=lambda agent, metrics: seen.append(torch.get_num_threads()))
        assert seen == [1] and torch.get_num_threads() == 2
