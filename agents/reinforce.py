"""REINFORCE (Williams 1992; Sutton & Barto, 13.3), with a baseline or without (13.4).

One iteration: play whole episodes with the policy as it is, then take one step along the gradient of their returns,

    θ ← θ + α mean over the episodes of Σ_t γ^t (G_t − b(S_t)) ∇ ln π(A_t|S_t, θ)          (eq. 13.8; 13.11 with a baseline b)

where γ^t is 1 unless `discount_gradient` is set, as nearly everywhere outside the book.

G_t is the sum of an episode's rewards to its end. A truncated episode was not at its end: its return goes on with the value of what
it saw last. So a value is always learned, also where it is not the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mprl.agents.agent import Metrics
from mprl.agents.on_policy import OnPolicyAgent, OnPolicySettings, explained_variance
from mprl.agents.returns import discounted_return
from mprl.agents.rollout import Rollout, collect
from mprl.errors import SettingError
from mprl.nn.flat import FlatSGD
from mprl.nn.schedules import Scheduled

BASELINES = ("none", "constant", "value")
OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True)
class REINFORCESettings(OnPolicySettings):
    """Settings of REINFORCE."""

    learning_rate: Scheduled = 3e-3
    """Step size of the optimiser."""
    n_episodes: int = 8
    """Whole episodes before each update, over all worlds; rounded up to as many in each world, so that short ones are not preferred."""
    baseline: str = "value"
    """What is taken off the returns: none; constant, a running mean of the returns; value, the learned value of the observation."""
    baseline_decay: float = 0.9
    """Of the constant baseline's running mean."""
    discount_gradient: bool = False
    """Weigh an episode's step t by gamma^t: the gradient of the discounted return from the start, as in the book."""
    normalize_returns: bool = True
    """Measure returns in their running standard deviation, so that the step size need not know the rewards."""
    optimizer: str = "adam"
    """adam or sgd."""
    max_steps: int = 10_000
    """Steps in every world after which episodes are truncated to learn from them."""
    normalize_observations: bool = False
    """Standardise observations by their running mean and variance."""

    _positive: ClassVar[tuple[str, ...]] = (*OnPolicySettings._positive, "n_episodes", "max_steps")
    _fractions: ClassVar[tuple[str, ...]] = ("gamma", "baseline_decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline not in BASELINES:
            raise SettingError(f"baseline must be one of {', '.join(BASELINES)}, found '{self.baseline}'")
        if self.optimizer not in OPTIMIZERS:
            raise SettingError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, found '{self.optimizer}'")


class REINFORCE(OnPolicyAgent):
    """`REINFORCE(env, seed=0, **settings)`: see `REINFORCESettings`, and `Agent` for the interface.

    Every iteration resets the environment. Worlds that have played their share of episodes wait for the others; what they do
    meanwhile counts as environment steps and is not learned from.

    Args:
        env: a Gymnasium environment, single or vector.
        seed: of weights and noise.
        device: where the networks live; by default the environment's.
        settings: fields of `REINFORCESettings`; what is not given comes from the preset for this environment, if there is one.
    """

    name = "reinforce"
    Settings = REINFORCESettings
    settings: REINFORCESettings

    def _build(self) -> None:
        super()._build()
        self._mean_return = torch.zeros(2, device=self.device)  # weighted sum of returns, and of the weights
        self._taken = 0

    def _make_optimizer(self, vector: nn.Parameter, learning_rate: float) -> Any:
        return super()._make_optimizer(vector, learning_rate) if self.settings.optimizer == "adam" else FlatSGD(vector, learning_rate)

    def _samples_per_iteration(self) -> int:
        return self._taken

    def _act(self) -> Rollout:
        """Play `n_episodes`, and be about to begin new ones."""
        if self.observation is None:
            self.observation = self._first_observation()
        worlds = self.batch.num_worlds
        share = -(-self.settings.n_episodes // worlds)
        played = torch.zeros(worlds, dtype=torch.long, device=self.device)

        def go_on(steps: int, ended: Tensor) -> bool:
            played.add_(ended)
            return steps < self.settings.max_steps and not bool((played >= share).all())

        rollout = collect(self, go_on)
        ended = (rollout.terminated | rollout.truncated).long()
        rollout.valid = rollout.valid & (ended.cumsum(0) - ended < share)
        rollout.truncated[-1] |= rollout.valid[-1] & ~rollout.terminated[-1]
        for column in ("reward", "terminated", "truncated"):  # nothing of a world that waits
            setattr(rollout, column, getattr(rollout, column) * rollout.valid)
        self._taken = rollout.reward.numel()
        self.observation = None
        return rollout

    @torch.no_grad()
    def _improve(self, rollout: Rollout) -> Metrics:
        s, model = self.settings, self.model
        returns = discounted_return(rollout.reward, rollout.next_value, rollout.terminated, rollout.truncated, s.gamma)
        weight = s.gamma ** _age(rollout) if s.discount_gradient else torch.ones_like(returns)
        returns, weight, value = rollout.flat(returns), rollout.flat(weight), rollout.flat(rollout.value)
        if s.normalize_returns:
            model.returns.update(returns)
        baseline: dict[str, Tensor | float] = {"none": 0.0, "constant": self._constant(returns), "value": value}
        advantage = weight * (returns - baseline[s.baseline]) / model.returns.std
        target = (returns - model.returns.mean) / model.returns.std
        self.optimizer.param_groups[0]["lr"] = self._scheduled("learning_rate")
        episodes = int((rollout.terminated | rollout.truncated).sum())
        action = rollout.flat(rollout.action)
        policy, standard_value = self.explicit(rollout.seen(model))
        error = standard_value - target
        # the gradient of -sum(advantage log pi + ent_coef entropy) / episodes + vf_coef mean(error²)
        slopes = policy.slopes(action, -advantage / episodes, -self._scheduled("ent_coef") / episodes)
        norm = self._descend(*slopes, 2 * s.vf_coef / len(error) * error)
        policy_loss = -(advantage * policy.log_prob(action)).sum() / episodes
        numbers = torch.stack((policy_loss, error.square().mean(), norm, policy.entropy().mean())).tolist()
        log = dict(zip(("policy_loss", "value_loss", "gradient_norm", "entropy"), numbers, strict=True))
        return log | {"explained_variance": explained_variance(value, returns)}

    def _constant(self, returns: Tensor) -> Tensor:
        """Running mean of the returns of earlier iterations, in which those of this one, which it must not know, are put only then."""
        total, weights = self._mean_return
        baseline = total / weights.clamp(min=1e-8)
        keep = self.settings.baseline_decay
        self._mean_return = keep * self._mean_return + (1 - keep) * torch.stack((returns.mean(), torch.ones_like(total)))
        return baseline

    def _extra_state(self) -> dict[str, Tensor]:
        return super()._extra_state() | {"mean_return": self._mean_return}

    def _restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        super()._restore_extra_state(tensors)
        self._mean_return.copy_(tensors["mean_return"])


def _age(rollout: Rollout) -> Tensor:
    """Steps since the episode's first, (T, W)."""
    age, ages = torch.zeros_like(rollout.reward[0]), torch.empty_like(rollout.reward)
    for t, ended in enumerate(rollout.terminated | rollout.truncated):
        ages[t] = age
        age = (age + rollout.valid[t]) * ~ended
    return ages
