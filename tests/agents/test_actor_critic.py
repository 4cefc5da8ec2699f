"""The gradient of policy and value that is written out is autograd's, through a memory too."""

from __future__ import annotations

import gymnasium as gym
import pytest
import torch

from mprl.agents.a2c import A2CSettings
from mprl.agents.actor_critic import ActorCritic, ExplicitActorCritic
from mprl.nn.flat import FlatParameters

SPACES = {
    "discrete": gym.spaces.Discrete(3),
    "box": gym.spaces.Box(-1, 1, (2,)),
    "choices": gym.spaces.MultiDiscrete([2, 3]),
    "bits": gym.spaces.MultiBinary(3),
}


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("recurrent", ["none", "gru"])
@pytest.mark.parametrize("space", SPACES)
def test_the_gradient_is_autograd_s(space, recurrent, bfloat16):
    torch.manual_seed(0)
    model = ActorCritic(4, SPACES[space], A2CSettings(hidden=(8, 8), recurrent=recurrent, recurrent_size=5))
    model.reduced = bfloat16
    flat, explicit = FlatParameters(model.parameters()), ExplicitActorCritic(model)
    observation, weight = torch.randn(7, 4), torch.randn(7)
    target = torch.randn(7)
    policy, value = explicit(model.see(observation, model.initial_memory(7))[0])
    assert not value.requires_grad
    action = policy.sample()
    explicit.backward(*policy.slopes(action, weight, 0.3), 2 * (value - target))
    found = flat.gradient.clone()

    flat.zero_gradient()
    features = model.see(observation, model.initial_memory(7))[0]
    policy, value = model.policy(features), model.standard_value(features)
    loss = (weight * policy.log_prob(action)).sum() + 0.3 * policy.entropy().sum() + (value - target).square().sum()
    loss.backward()
    assert flat.gradient.any()
    torch.testing.assert_close(found, flat.gradient, rtol=1e-4, atol=1e-5)
