"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), for continuous and discrete actions.

One iteration: act for `n_steps` in every world; estimate advantages; improve policy and value for a few epochs on minibatches,
while the step size follows the KL divergence from the policy that acted.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from mprl.agents.agent import Agent
from mprl.agents.returns import generalized_advantage
from mprl.errors import SettingError
from mprl.nn import precision
from mprl.nn.distributions import Categorical, DiagonalGaussian
from mprl.nn.mlp import ACTIVATIONS, mlp
from mprl.nn.normalizer import RunningNormalizer


@dataclass(frozen=True)
class PPOSettings:
    """Settings of PPO."""

    learning_rate: float = 3e-4
    """Adam's step size at the start."""
    n_steps: int = 32
    """Steps in every world before each update."""
    batch_size: int = 4096
    """Samples in a minibatch."""
    n_epochs: int = 4
    """Passes over the samples of an iteration."""
    gamma: float = 0.99
    """Discount of the future."""
    gae_lambda: float = 0.95
    """Decay of generalised advantage estimation."""
    clip_range: float = 0.2
    """How far the probability ratio may move from 1."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 1.0
    """Greatest norm of the gradient."""
    target_kl: float | None = 0.02
    """KL divergence an iteration's steps should make; the step size follows it. None keeps the step size."""
    min_learning_rate: float = 1e-5
    """Least step size the KL rule may choose."""
    max_learning_rate: float = 2e-3
    """Greatest step size the KL rule may choose."""
    hidden: tuple[int, ...] = (256, 256)
    """Sizes of the hidden layers, of policy and value alike."""
    activation: str = "elu"
    """elu, relu, tanh or silu."""
    initial_std: float = 1.0
    """Standard deviation of continuous actions at the start, in units where the action range is [-1, 1]."""
    learn_std: bool = True
    """Learn the standard deviation, or keep to `initial_std` and `final_std`."""
    final_std: float | None = None
    """Standard deviation that is not learned falls from `initial_std` to this, by equal ratios in equal numbers of steps."""
    std_steps: float = 1e7
    """Environment steps after which it is there."""
    precision: str = "float32"
    """float32; bfloat16 for the hidden layers, three times as fast on processors that have it; auto: as the processor has it."""
    normalize_observations: bool = True
    """Standardise observations by their running mean and variance."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "n_steps", "batch_size", "n_epochs", "clip_range", "max_grad_norm", "initial_std"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be positive, found {getattr(self, name)}")
        for name in ("ent_coef", "vf_coef", "min_learning_rate"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must be at least 0, found {getattr(self, name)}")
        if not self.min_learning_rate <= self.max_learning_rate:
            raise SettingError(f"min_learning_rate {self.min_learning_rate} is above max_learning_rate {self.max_learning_rate}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} must be in [0, 1], found {getattr(self, name)}")
        if self.target_kl is not None and not self.target_kl > 0:
            raise SettingError(f"target_kl must be positive, or None to keep the step size, found {self.target_kl}")
        if any(size < 1 for size in self.hidden):
            raise SettingError(f"hidden must be sizes of at least 1, found {self.hidden}")
        if self.final_std is not None and self.learn_std:
            raise SettingError("final_std is for a standard deviation that is not learned: set learn_std=False too")
        if self.final_std is not None and not (self.final_std > 0 and self.std_steps > 0):
            raise SettingError(f"final_std and std_steps must be positive, found {self.final_std} and {self.std_steps}")
        if self.precision not in precision.PRECISIONS:
            raise SettingError(f"precision must be one of {', '.join(precision.PRECISIONS)}, found '{self.precision}'")
        if self.activation not in ACTIVATIONS:
            raise SettingError(f"activation must be one of {', '.join(ACTIVATIONS)}, found '{self.activation}'")


class ActorCritic(nn.Module):
    """Policy and value, with the statistics that their inputs and outputs are standardised by."""

    def __init__(self, observation_size: int, action_space: gym.Space[Any], settings: PPOSettings) -> None:
        super().__init__()
        self.discrete = isinstance(action_space, gym.spaces.Discrete)
        actions = int(action_space.n) if self.discrete else math.prod(action_space.shape or ())  # type: ignore[attr-defined]
        self.actor = mlp(observation_size, settings.hidden, actions, settings.activation, output_gain=0.01)
        self.critic = mlp(observation_size, settings.hidden, 1, settings.activation)
        self.observations = RunningNormalizer((observation_size,))
        self.returns = RunningNormalizer(())
        self.normalize = settings.normalize_observations
        self.reduced = False
        if not self.discrete:
            log_std = torch.full((actions,), math.log(settings.initial_std))
            self.log_std = nn.Parameter(log_std, requires_grad=settings.learn_std)

    def features(self, observation: Tensor) -> Tensor:
        """What the networks see, (..., n)."""
        return self.observations(observation) if self.normalize else observation

    def policy(self, features: Tensor) -> DiagonalGaussian | Categorical:
        """The distribution of actions."""
        output = precision.forward(self.actor, features, self.reduced)
        return Categorical(output) if self.discrete else DiagonalGaussian(output, self.log_std)

    def value(self, features: Tensor) -> Tensor:
        """Expected discounted return, (...)."""
        return self.standard_value(features) * self.returns.std + self.returns.mean

    def standard_value(self, features: Tensor) -> Tensor:
        """The value in units of its own standard deviation, (...)."""
        return precision.forward(self.critic, features, self.reduced).squeeze(-1)


@dataclass
class Rollout:
    """What T steps in W worlds gave; features are standardised observations."""

    features: Tensor  # (T, W, n)
    action: Tensor  # (T, W, a) or (T, W)
    reward: Tensor  # (T, W), and so on
    terminated: Tensor
    truncated: Tensor
    valid: Tensor
    value: Tensor
    next_value: Tensor
    observations: Tensor  # (T, W, n), as they came


class PPO(Agent):
    """`PPO(env, seed=0, **settings)`: see `PPOSettings`, and `Agent` for the interface.

    Args:
        env: a Gymnasium environment, single or vector; actions in a Box or Discrete space.
        seed: of weights, noise and minibatches.
        device: where the networks live; by default the environment's.
        settings: fields of `PPOSettings`; what is not given comes from the preset for this environment, if there is one.
    """

    name = "ppo"
    Settings = PPOSettings
    settings: PPOSettings

    def _build(self) -> None:
        self.model = ActorCritic(self.observation_size, self.action_space, self.settings).to(self.device)
        self.model.reduced = precision.uses_bfloat16(self.settings.precision, self.device)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        # fused Adam is one kernel in place of one for each tensor
        self.optimizer = torch.optim.Adam(trained, lr=self.settings.learning_rate, eps=1e-5, fused=True)

    def _iteration(self) -> dict[str, float]:
        began = time.perf_counter()
        if self.settings.normalize_observations and not self.model.observations.count:
            # Unseen statistics would make the first update a wild one: watch for one iteration, which counts for nothing.
            watched, _ = self._act()
            self.model.observations.update(watched.observations.flatten(0, 1))
        self._set_std()
        rollout, log = self._act()
        acted = time.perf_counter()
        log |= self._improve(rollout)
        log["time_acting"], log["time_learning"] = acted - began, time.perf_counter() - acted
        return log

    def _set_std(self) -> None:
        s = self.settings
        if self.model.discrete or s.learn_std or s.final_std is None:
            return
        share = min(1.0, self.num_timesteps / s.std_steps)
        self.model.log_std.data.fill_((1 - share) * math.log(s.initial_std) + share * math.log(s.final_std))

    def _samples_per_iteration(self) -> int:
        return self.settings.n_steps * self.batch.num_worlds

    @torch.no_grad()
    def _act(self) -> tuple[Rollout, dict[str, float]]:
        model, steps, worlds = self.model, self.settings.n_steps, self.batch.num_worlds
        observations = torch.empty(steps + 1, worlds, self.observation_size, device=self.device)
        rollout: dict[str, list[Tensor]] = {key: [] for key in ("action", "reward", "terminated", "truncated", "valid")}
        unseen: list[tuple[int, Any, Tensor]] = []  # values of what truncated episodes saw last, where the next row is not it
        for t in range(steps):
            observations[t] = self.observation
            action = model.policy(model.features(self.observation)).sample(self.generator)
            step = self.batch.step(self._to_environment(action))
            if step.final_observation is not None:
                # which episodes were truncated is known without waiting on a CPU only; a GPU values all and chooses
                which = step.truncated.nonzero().squeeze(-1) if self.device.type == "cpu" else ...
                unseen.append((t, which, model.value(model.features(step.final_observation[which]))))
            for key, value in zip(rollout, (action, step.reward, step.terminated, step.truncated, step.valid), strict=True):
                rollout[key].append(value)
            if step.info:
                self.statistics.add_info(step)
            self.observation = step.observation
        observations[steps] = self.observation
        features = model.features(observations)
        value = model.value(features.flatten(0, 1)).view(steps + 1, worlds)
        next_value = value[1:].clone()
        stacked = {key: torch.stack(values) for key, values in rollout.items()}
        for t, which, last in unseen:
            next_value[t, which] = torch.where(stacked["truncated"][t, which], last, next_value[t, which])
        seen = Rollout(features=features[:-1], value=value[:-1], next_value=next_value, observations=observations[:-1], **stacked)
        self.statistics.add(stacked["reward"], stacked["terminated"], stacked["truncated"], stacked["valid"])
        return seen, self.statistics.take()

    def _improve(self, rollout: Rollout) -> dict[str, float]:
        s, model = self.settings, self.model
        advantage = generalized_advantage(
            rollout.reward, rollout.value, rollout.next_value, rollout.terminated, rollout.truncated, s.gamma, s.gae_lambda
        )
        returns = (advantage + rollout.value)[rollout.valid]
        model.returns.update(returns)
        advantage = advantage[rollout.valid]
        advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
        features, action = rollout.features[rollout.valid], rollout.action[rollout.valid]
        target = (returns - model.returns.mean) / model.returns.std
        with torch.no_grad():
            old = model.policy(features)
            old_log_prob = old.log_prob(action)
        sums = torch.zeros(5, device=self.device)
        count = 0
        for _ in range(s.n_epochs):
            order = torch.randperm(len(action), generator=self.generator, device=self.device)
            for rows in order.split(s.batch_size):
                if len(rows) < min(s.batch_size, len(order)) // 2:
                    continue  # a scrap of a minibatch would make a noisy step
                policy = model.policy(features[rows])
                log_ratio = policy.log_prob(action[rows]) - old_log_prob[rows]
                ratio, a = log_ratio.exp(), advantage[rows]
                policy_loss = -torch.min(ratio * a, ratio.clamp(1 - s.clip_range, 1 + s.clip_range) * a).mean()
                value_loss = (model.standard_value(features[rows]) - target[rows]).square().mean()
                entropy = policy.entropy().mean()
                loss = policy_loss + s.vf_coef * value_loss - s.ent_coef * entropy
                self.optimizer.zero_grad()
                loss.backward()
                norm = nn.utils.clip_grad_norm_(model.parameters(), s.max_grad_norm)
                self.optimizer.step()
                with torch.no_grad():
                    kl = ((ratio - 1) - log_ratio).mean()  # Schulman's low-variance estimate
                    clipped = ((ratio - 1).abs() > s.clip_range).float().mean()
                    sums += torch.stack((policy_loss, value_loss, kl, clipped, norm))
                count += 1
            if s.target_kl is not None:
                self._follow_kl(float(kl), s.target_kl)
        if s.normalize_observations:
            model.observations.update(rollout.observations.flatten(0, 1))
        names = ("policy_loss", "value_loss", "kl", "clip_fraction", "gradient_norm")
        log = dict(zip(names, (sums / count).tolist(), strict=True))
        explained = 1 - (returns - rollout.value[rollout.valid]).var(correction=0) / (returns.var(correction=0) + 1e-8)
        log |= {
            "explained_variance": float(explained),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "entropy": float(entropy.detach()),
        }
        if not model.discrete:
            log["action_std"] = float(model.log_std.detach().exp().mean())
        return log

    def _follow_kl(self, kl: float, target: float) -> None:
        """Smaller steps when the policy has moved too far from the one that acted, larger ones when hardly at all."""
        group = self.optimizer.param_groups[0]
        if kl > 1.5 * target:
            group["lr"] = max(self.settings.min_learning_rate, group["lr"] / 1.2)
        elif 0.0 <= kl < target / 1.5:
            group["lr"] = min(self.settings.max_learning_rate, group["lr"] * 1.2)

    @torch.no_grad()
    def _choose(self, observation: Tensor, deterministic: bool) -> Tensor:
        policy = self.model.policy(self.model.features(observation))
        return self._to_environment(policy.mode() if deterministic else policy.sample(self.generator))

    def _networks(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": self.optimizer}
