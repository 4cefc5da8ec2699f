"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347).

One iteration: act for `n_steps` in every world, estimate advantages, improve the policy and value for a few epochs on minibatches,
while the step size follows the KL divergence from the policy that acted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mprl.agents.on_policy import OnPolicyAgent, OnPolicySettings, explained_variance
from mprl.agents.returns import generalized_advantage
from mprl.agents.rollout import Rollout
from mprl.errors import SettingError
from mprl.nn.schedules import Scheduled


@dataclass(frozen=True)
class PPOSettings(OnPolicySettings):
    """Settings of PPO."""

    n_steps: int = 32
    """Steps in every world before each update."""
    batch_size: int = 4096
    """Samples in a minibatch."""
    n_epochs: int = 4
    """Passes over the samples of an iteration."""
    gae_lambda: float = 0.95
    """Decay of generalised advantage estimation."""
    clip_range: Scheduled = 0.2
    """How far the probability ratio may move from 1."""
    max_grad_norm: float = 1.0
    """Greatest norm of the gradient."""
    hidden: tuple[int, ...] = (256, 256)
    """Sizes of the hidden layers, of policy and value alike."""
    activation: str = "elu"
    """elu, relu, tanh or silu."""
    target_kl: float | None = 0.02
    """KL divergence an iteration's steps should make; the step size follows it. None keeps the step size, or its schedule."""
    min_learning_rate: float = 1e-5
    """Least step size the KL rule may choose."""
    max_learning_rate: float = 2e-3
    """Greatest step size the KL rule may choose."""

    _positive: ClassVar[tuple[str, ...]] = (*OnPolicySettings._positive, "n_steps", "batch_size", "n_epochs")
    _fractions: ClassVar[tuple[str, ...]] = ("gamma", "gae_lambda")
    _positive_schedules: ClassVar[tuple[str, ...]] = ("learning_rate", "clip_range")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_learning_rate <= self.max_learning_rate:
            raise SettingError(f"min_learning_rate {self.min_learning_rate} must be from 0 to max_learning_rate {self.max_learning_rate}")
        if self.target_kl is not None and not self.target_kl > 0:
            raise SettingError(f"target_kl must be positive, or None to keep the step size, found {self.target_kl}")
        if self.target_kl is not None and isinstance(self.learning_rate, str):
            raise SettingError(
                f"learning_rate '{self.learning_rate}' is a schedule: set target_kl=None, which rules the step size otherwise"
            )


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip_range: float) -> tuple[Tensor, Tensor]:
    """L^CLIP (eq. 7): what a change of the policy gains, without the gain of going further than `clip_range`.

    Args:
        log_ratio: log of the new over the old probability of the actions, (N,).
        advantage: (N,).
        clip_range: epsilon.

    Returns:
        The gain, (N,), and its derivative with respect to the log-probability, (N,): the ratio times the advantage, 0 where clipped.
    """
    ratio = log_ratio.exp()
    gain, clipped = ratio * advantage, ratio.clamp(1 - clip_range, 1 + clip_range) * advantage
    return torch.min(gain, clipped), torch.where(gain <= clipped, gain, 0.0)


class PPO(OnPolicyAgent):
    """`PPO(env, seed=0, **settings)`: see `PPOSettings`, and `Agent` for the interface.

    Args:
        env: a Gymnasium environment, single or vector; actions in a Box or Discrete space.
        seed: of weights, noise and minibatches.
        device: where the networks live; by default the environment's.
        settings: fields of `PPOSettings`; what is not given comes from the preset for this environment, if there is one.
    """

    name = "ppo"
    distributes = True
    Settings = PPOSettings
    settings: PPOSettings

    def _samples_per_iteration(self) -> int:
        return self.settings.n_steps * self.num_worlds

    def _act(self) -> Rollout:
        return self._collect(self.settings.n_steps)

    @torch.no_grad()
    def _improve(self, rollout: Rollout) -> dict[str, float]:
        s, model, ranks = self.settings, self.model, self.ranks
        advantage = generalized_advantage(
            rollout.reward, rollout.value, rollout.next_value, rollout.terminated, rollout.truncated, s.gamma, s.gae_lambda
        )
        value, advantage = rollout.flat(rollout.value), rollout.flat(advantage)
        if not ranks.count(len(advantage)):
            return {}  # all worlds were only reset
        returns = advantage + value
        model.returns.update(returns, ranks)
        target = (returns - model.returns.mean) / model.returns.std
        advantage = (advantage - ranks.mean(advantage)) / (ranks.std(advantage) + 1e-8)
        action = rollout.flat(rollout.action)
        old_log_prob = model.policy(rollout.acted_on(model)).log_prob(action)
        clip_range, ent_coef = self._scheduled("clip_range"), self._scheduled("ent_coef")
        if s.target_kl is None:
            self.optimizer.param_groups[0]["lr"] = self._scheduled("learning_rate")
        losses, samples = [], []
        for _ in range(s.n_epochs):
            for rows, features in rollout.minibatches(model, s.batch_size, self.generator, ranks):
                policy, standard_value = self.explicit(features)
                log_ratio = policy.log_prob(action[rows]) - old_log_prob[rows]
                gain, slope = clipped_surrogate(log_ratio, advantage[rows], clip_range)
                error = standard_value - target[rows]
                share = 1 / max(len(error), 1)  # a rank may have none in a small minibatch
                # the gradient of -mean(gain) + vf_coef mean(error²) - ent_coef mean(entropy)
                slopes = policy.slopes(action[rows], -share * slope, -share * ent_coef)
                norm = self._descend(*slopes, 2 * share * s.vf_coef * error)
                losses.append(torch.stack((-gain.mean(), error.square().mean(), norm)))
                samples.append(len(error))
            kl = ranks.average(_divergence(log_ratio).unsqueeze(0), samples[-1:])
            if s.target_kl is not None:
                self._follow_kl(float(kl), s.target_kl)
        names = ("policy_loss", "value_loss", "gradient_norm")
        clipped = ((log_ratio.exp() - 1).abs() > clip_range).float().mean()
        last = ranks.average(torch.stack((clipped, policy.entropy().mean())).unsqueeze(0), samples[-1:])[0].tolist()
        return dict(zip(names, ranks.average(torch.stack(losses), samples).mean(0).tolist(), strict=True)) | {
            "kl": float(kl),
            "clip_fraction": last[0],
            "entropy": last[1],
            "explained_variance": explained_variance(value, returns, ranks),
        }

    def _follow_kl(self, kl: float, target: float) -> None:
        """Smaller steps when the policy has moved too far from the one that acted, larger ones when hardly at all."""
        group = self.optimizer.param_groups[0]
        if kl > 1.5 * target:
            group["lr"] = max(self.settings.min_learning_rate, group["lr"] / 1.2)
        elif 0.0 <= kl < target / 1.5:
            group["lr"] = min(self.settings.max_learning_rate, group["lr"] * 1.2)


def _divergence(log_ratio: Tensor) -> Tensor:
    """KL divergence from the policy that acted, estimated from its actions with little variance (Schulman 2020)."""
    return (log_ratio.exp() - 1 - log_ratio).mean()
