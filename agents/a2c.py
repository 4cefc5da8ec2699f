"""Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783, algorithm S3; all worlds at once and in step, so without the first A of A3C).

One iteration: act for `n_steps` in every world, estimate the advantages, take one step along their gradient, which is exact as the
policy that acted is still the one that learns. `n_steps=1` is the one-step actor-critic (Sutton & Barto, 13.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from mprl.agents.agent import Metrics
from mprl.agents.on_policy import OnPolicyAgent, OnPolicySettings
from mprl.agents.returns import generalized_advantage
from mprl.agents.rollout import Rollout
from mprl.errors import SettingError
from mprl.nn.flat import FlatRMSprop
from mprl.nn.schedules import Scheduled

OPTIMIZERS = ("rmsprop", "adam")


@dataclass(frozen=True)
class A2CSettings(OnPolicySettings):
    """Settings of A2C."""

    learning_rate: Scheduled = 7e-4
    """Step size of the optimiser."""
    n_steps: int = 5
    """Steps in every world before each update."""
    gae_lambda: float = 1.0
    """Decay of generalised advantage estimation; 1: returns of all the steps to the update, then the value."""
    normalize_advantage: bool = False
    """Standardise the advantages of each update."""
    normalize_returns: bool = False
    """Measure returns, values and advantages in running standard deviations of the returns."""
    normalize_observations: bool = False
    """Standardise observations by their running mean and variance."""
    optimizer: str = "rmsprop"
    """rmsprop or adam."""
    rms_prop_eps: float = 1e-5
    """Keeps RMSprop's and Adam's steps finite where the gradient vanishes."""
    rms_prop_decay: float = 0.99
    """Of RMSprop's mean of squared gradients."""
    iteration_steps: int = 1000
    """Environment steps, over all worlds, of an iteration: of what metrics are means. Rounded up to times of learning."""

    _positive: ClassVar[tuple[str, ...]] = (*OnPolicySettings._positive, "n_steps", "rms_prop_eps", "iteration_steps")
    _fractions: ClassVar[tuple[str, ...]] = ("gamma", "gae_lambda", "rms_prop_decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimizer not in OPTIMIZERS:
            raise SettingError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, found '{self.optimizer}'")


class A2C(OnPolicyAgent):
    """`A2C(env, seed=0, **settings)`: see `A2CSettings`, and `Agent` for the interface.

    Args:
        env: a Gymnasium environment, single or vector.
        seed: of weights and noise.
        device: where the networks live; by default the environment's.
        settings: fields of `A2CSettings`; what is not given comes from the preset for this environment, if there is one.
    """

    name = "a2c"
    distributes = True
    Settings = A2CSettings
    settings: A2CSettings

    def _make_optimizer(self, vector: nn.Parameter, learning_rate: float) -> Any:
        s = self.settings
        if s.optimizer == "adam":
            return super()._make_optimizer(vector, learning_rate)
        return FlatRMSprop(vector, learning_rate, alpha=s.rms_prop_decay, eps=s.rms_prop_eps)

    def _updates(self) -> int:
        return -(-self.settings.iteration_steps // (self.settings.n_steps * self.num_worlds))

    def _samples_per_iteration(self) -> int:
        return self._updates() * self.settings.n_steps * self.num_worlds

    def _act(self) -> Rollout:
        return self._collect(self.settings.n_steps)

    @torch.no_grad()
    def _improve(self, rollout: Rollout) -> Metrics:
        s, model, ranks = self.settings, self.model, self.ranks
        advantage = generalized_advantage(
            rollout.reward, rollout.value, rollout.next_value, rollout.terminated, rollout.truncated, s.gamma, s.gae_lambda
        )
        old_value, advantage = rollout.flat(rollout.value), rollout.flat(advantage)
        if not ranks.count(len(advantage)):
            return {}  # all worlds were only reset
        returns = target = advantage + old_value
        if s.normalize_returns:
            model.returns.update(returns, ranks)
            advantage, target = advantage / model.returns.std, (returns - model.returns.mean) / model.returns.std
        if s.normalize_advantage:
            advantage = (advantage - ranks.mean(advantage)) / (ranks.std(advantage) + 1e-8)
        self.optimizer.param_groups[0]["lr"] = self._scheduled("learning_rate")
        ent_coef = self._scheduled("ent_coef")
        policy, standard_value = self.explicit(rollout.seen(model))
        action, error, share = rollout.flat(rollout.action), standard_value - target, 1 / max(len(target), 1)
        # the gradient of -mean(advantage log pi) + vf_coef mean(error²) - ent_coef mean(entropy)
        slopes = policy.slopes(action, -share * advantage, -share * ent_coef)
        norm = self._descend(*slopes, 2 * share * s.vf_coef * error)
        policy_loss = -(advantage * policy.log_prob(action)).mean()
        numbers = torch.stack((policy_loss, error.square().mean(), norm, policy.entropy().mean()))
        numbers = ranks.average(numbers.unsqueeze(0), [len(target)])[0]
        return dict(zip(("policy_loss", "value_loss", "gradient_norm", "entropy"), numbers.tolist(), strict=True))
