"""The networks of policy-gradient agents: a policy and a value for each observation, or with a memory for all of an episode until then."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from mprl.agents import spaces
from mprl.nn import precision
from mprl.nn.distributions import Distribution
from mprl.nn.mlp import mlp
from mprl.nn.normalizer import RunningNormalizer
from mprl.nn.recurrent import Recurrent, State

if TYPE_CHECKING:
    from mprl.agents.on_policy import OnPolicySettings


Backward = Callable[[Tensor, Tensor | None, Tensor], None]  # slopes at the policy's output and log_std, and at the standard value


class ActorCritic(nn.Module):
    """Policy and value, with the statistics that their inputs and outputs are standardised by."""

    def __init__(self, observation_size: int, action_space: gym.Space[Any], settings: OnPolicySettings) -> None:
        super().__init__()
        self.action_space = action_space
        actions = spaces.policy_outputs(action_space)
        self.core: Recurrent | None = None
        inputs = observation_size
        if settings.recurrent != "none":
            self.core = Recurrent(settings.recurrent, observation_size, settings.recurrent_size)
            inputs = settings.recurrent_size
        self.actor = mlp(inputs, settings.hidden, actions, settings.activation, output_gain=0.01)
        self.critic = mlp(inputs, settings.hidden, 1, settings.activation)
        self.observations = RunningNormalizer((observation_size,))
        self.returns = RunningNormalizer(())
        self.normalize = settings.normalize_observations
        self.reduced = False
        self.log_std: nn.Parameter | None = None
        if isinstance(action_space, gym.spaces.Box):
            self.log_std = nn.Parameter(torch.full((actions,), math.log(settings.initial_std)), requires_grad=settings.learn_std)

    def features(self, observation: Tensor) -> Tensor:
        """What the networks see, (..., n); where there is a memory, what goes into it."""
        return self.observations(observation) if self.normalize else observation

    def initial_memory(self, worlds: int) -> State:
        """Of an episode's beginning: () where the policy has none."""
        return () if self.core is None else self.core.initial_state(worlds)

    def see(self, observation: Tensor, memory: State, begins: Tensor | None = None) -> tuple[Tensor, State]:
        """What policy and value are functions of, (W, n), and the memory after it.

        Args:
            observation: (W, n).
            memory: after the observation before.
            begins: where an episode begins, (W,) bool; None: nowhere.
        """
        features = self.features(observation)
        return (features, memory) if self.core is None else self.core.step(features, memory, begins)

    def policy(self, features: Tensor) -> Distribution:
        """The distribution of actions."""
        return spaces.distribution(self.action_space, precision.forward(self.actor, features, self.reduced), self.log_std)

    def value(self, features: Tensor) -> Tensor:
        """Expected discounted return, (...)."""
        return self.standard_value(features) * self.returns.std + self.returns.mean

    def standard_value(self, features: Tensor) -> Tensor:
        """The value in units of its own standard deviation, (...)."""
        return precision.forward(self.critic, features, self.reduced).squeeze(-1)

    def with_backward(self, features: Tensor) -> tuple[Distribution, Tensor, Backward]:
        """Policy and standard value for features (N, n), outside of autograd, and the way of a gradient back into the weights.

        Autograd of the loss would take as long again as all else in a gradient step of small networks. The loss's slopes are short to
        write down instead: `Distribution.slopes` for the policy, and for the value (N,) whatever its loss says.
        """
        if self.reduced or features.requires_grad:  # both at once: they may share what made the features
            with torch.enable_grad():
                output = precision.forward(self.actor, features, self.reduced)
                value = precision.forward(self.critic, features, self.reduced)
            into: list[Callable[[tuple[Tensor, Tensor]], None]] = [functools.partial(torch.autograd.backward, (output, value))]
        else:
            output, into_actor = self.actor.with_backward(features)
            value, into_critic = self.critic.with_backward(features)
            into = [lambda slopes: into_actor(slopes[0]), lambda slopes: into_critic(slopes[1])]

        def backward(of_output: Tensor, of_log_std: Tensor | None, of_value: Tensor) -> None:
            for each in into:
                each((of_output, of_value.unsqueeze(-1)))
            if of_log_std is not None and self.log_std is not None and self.log_std.grad is not None:
                self.log_std.grad.add_(of_log_std)

        policy = spaces.distribution(self.action_space, output.detach(), None if self.log_std is None else self.log_std.detach())
        return policy, value.detach().squeeze(-1), backward
