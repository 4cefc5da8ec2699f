"""The networks of policy-gradient agents: a policy and a value for each observation, or with a memory for all of an episode until then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from mprl.agents import spaces
from mprl.agents.eyes import Eyes
from mprl.nn import precision
from mprl.nn.distributions import Distribution
from mprl.nn.explicit import ExplicitMLP
from mprl.nn.mlp import mlp
from mprl.nn.normalizer import RunningNormalizer
from mprl.nn.recurrent import Recurrent, State
from mprl.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from mprl.agents.on_policy import OnPolicySettings


class ActorCritic(nn.Module):
    """Policy and value, with the statistics that their inputs and outputs are standardised by."""

    def __init__(self, observation_size: int, action_space: gym.Space[Any], settings: OnPolicySettings, eyes: Eyes | None = None) -> None:
        super().__init__()
        self.eyes = eyes
        standardised = observation_size  # numbers that come as the environment gives them; features have a scale of their own
        if eyes is not None:
            observation_size, standardised = eyes.size, eyes.rest
        self.action_space = action_space
        actions = spaces.policy_outputs(action_space)
        self.core: Recurrent | None = None
        inputs = observation_size
        if settings.recurrent != "none":
            self.core = Recurrent(settings.recurrent, observation_size, settings.recurrent_size)
            inputs = settings.recurrent_size
        self.actor = mlp(inputs, settings.hidden, actions, settings.activation, output_gain=0.01)
        self.critic = mlp(inputs, settings.hidden, 1, settings.activation)
        self.observations = RunningNormalizer((standardised,))
        self.returns = RunningNormalizer(())
        self.normalize = settings.normalize_observations
        self.reduced = False
        self.log_std: nn.Parameter | None = None
        if isinstance(action_space, gym.spaces.Box):
            self.log_std = nn.Parameter(torch.full((actions,), math.log(settings.initial_std)), requires_grad=settings.learn_std)

    def features(self, observation: Tensor) -> Tensor:
        """What the networks see, (..., n); where there is a memory, what goes into it."""
        if self.eyes is None:
            return self.observations(observation) if self.normalize else observation
        rest = self.eyes.others(observation)
        return torch.cat((self.observations(rest) if self.normalize else rest, self.eyes.features(observation)), dim=-1)

    def watch(self, observations: Tensor, ranks: Ranks = ALONE) -> None:
        """Take observations (..., n), and those of the other ranks, into the statistics that they are standardised by."""
        self.observations.update((observations if self.eyes is None else self.eyes.others(observations)).flatten(0, -2), ranks)

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

    def policy_network(self) -> nn.Module:
        """From observations to what the policy is made of, as one network."""
        if self.eyes is not None:
            return _Seen(self)
        return nn.Sequential(self.observations, self.actor) if self.normalize else self.actor

    def value(self, features: Tensor) -> Tensor:
        """Expected discounted return, (...)."""
        return self.standard_value(features) * self.returns.std + self.returns.mean

    def standard_value(self, features: Tensor) -> Tensor:
        """The value in units of its own standard deviation, (...)."""
        return precision.forward(self.critic, features, self.reduced).squeeze(-1)


class _Seen(nn.Module):
    """A policy with what it sees through."""

    def __init__(self, model: ActorCritic) -> None:
        super().__init__()
        self.model = model

    def forward(self, observation: Tensor) -> Tensor:
        return self.model.actor(self.model.features(observation))


class ExplicitActorCritic:
    """Runs an `ActorCritic` and its gradient without autograd (see `ExplicitMLP`), which would take as long again as all else in a
    gradient step of small networks. In bfloat16 it goes through autograd, so that the networks round as they did while acting.
    """

    def __init__(self, model: ActorCritic) -> None:
        self.model, self.actor, self.critic = model, ExplicitMLP(model.actor), ExplicitMLP(model.critic)

    def __call__(self, features: Tensor) -> tuple[Distribution, Tensor]:
        """Policy and standard value, (N,), for features (N, n); `backward` goes back from the last call."""
        model, self._features = self.model, features
        if model.reduced:
            with torch.enable_grad():
                self._outputs = [precision.forward(network, features, True) for network in (model.actor, model.critic)]
            output, value = (each.detach() for each in self._outputs)
        else:
            output, value = self.actor(features.detach()), self.critic(features.detach())
        log_std = None if model.log_std is None else model.log_std.detach()
        return spaces.distribution(model.action_space, output, log_std), value.squeeze(-1)

    def backward(self, of_output: Tensor, of_log_std: Tensor | None, of_value: Tensor) -> None:
        """Put a loss's gradient into the parameters' own, which are zero before, and through the features into what made them.

        Args:
            of_output, of_log_std: its slopes at the policy's output and log_std (`Distribution.slopes`).
            of_value: at the standard value, (N,).
        """
        slopes, remembered = (of_output, of_value.unsqueeze(-1)), self._features.requires_grad
        if self.model.reduced:
            torch.autograd.backward(self._outputs, slopes)
        else:
            of_features = [net.backward(slope, inputs=remembered) for net, slope in zip((self.actor, self.critic), slopes, strict=True)]
            if remembered:
                self._features.backward(sum(of_features))
        if of_log_std is not None and self.model.log_std is not None and self.model.log_std.grad is not None:
            self.model.log_std.grad.add_(of_log_std)
