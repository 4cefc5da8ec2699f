"""Several experts in one policy: DAgger (Ross, Gordon & Bagnell 2011, arXiv 1011.0686).

The student acts, at first mixed with the experts, and learns what the expert of each world would have done where the student came to.
What was seen before is kept and learned from again, the last `memory` samples of it. The value learns the returns along, so that PPO can
go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from gymnasium.spaces import Box
from torch import Tensor

from mprl.agents.on_policy import explained_variance
from mprl.agents.ppo import PPO
from mprl.agents.returns import generalized_advantage
from mprl.agents.rollout import Rollout, collect
from mprl.errors import SettingError, number
from mprl.nn import schedules
from mprl.nn.distributions import Distribution
from mprl.nn.schedules import Scheduled

Expert = Callable[[Tensor], Tensor]  # flat observations (N, n) -> actions (N, a) in the environment's units


class Distillation(PPO):
    """An agent of PPO that learns from experts instead of from rewards; saved, it is an agent of PPO like any other.

    Of the settings those count that are not about PPO's own objective: the networks, `learning_rate`, `n_steps`, `batch_size`,
    `n_epochs`, `gamma`, `gae_lambda`, `vf_coef`, `max_grad_norm`.

    Args:
        env: a Gymnasium environment, single or vector, with actions in a Box.
        experts: policies; see `Expert`.
        expert_of: called where actions are chosen: which of the experts knows each world, (W,) int64.
        expert_share: share of the actions that the experts take, in [0, 1]; may follow a schedule of environment steps.
        memory: samples that are kept.
        options: as of `PPO`: seed, device, settings.
    """

    _kept: tuple[Tensor, Tensor] | None = None  # observations (M, n) and labels (M, a)
    _next = _filled = 0

    def __init__(
        self,
        env: Any,
        experts: Sequence[Expert],
        expert_of: Callable[[], Tensor],
        expert_share: Scheduled = "linear 1 0 200000",
        memory: int = 100_000,
        **options: Any,
    ) -> None:
        super().__init__(env, **options)
        self.taught_by(experts, expert_of, expert_share, memory)

    def taught_by(
        self, experts: Sequence[Expert], expert_of: Callable[[], Tensor], expert_share: Scheduled = 0.0, memory: int = 100_000
    ) -> Self:
        """Say who teaches, as the class does: after `load`, which knows the student and what it has kept."""
        if not experts:
            raise SettingError("a student needs at least one expert")
        low, high = schedules.bounds(expert_share)
        if not 0 <= low <= high <= 1:
            raise SettingError(f"expert_share must be in [0, 1], found {expert_share}")
        if not isinstance(self.action_space, Box):
            raise SettingError(f"a student learns actions in a Box by their squared error, found {self.action_space}")
        if self.model.core is not None:
            raise SettingError("a student with a memory (recurrent) is not taught here: leave recurrent at 'none'")
        self.memory_size = number("memory", memory, least=1, whole=True)
        self.experts, self.expert_of, self.expert_share = experts, expert_of, expert_share
        return self

    def label(self, observation: Tensor) -> Tensor:
        """What the expert of each world would do, (W, a), in the range in which the student acts."""
        which = self.expert_of()
        labels = observation.new_zeros(len(observation), self.model.actor[-1].out_features)
        for at, expert in enumerate(self.experts):
            mine = which == at
            if self.device.type == "cpu":
                rows = mine.nonzero().squeeze(-1)
                if len(rows):
                    labels[rows] = expert(observation[rows]).flatten(1)
            else:  # to ask a GPU which they are is to wait for it
                labels = torch.where(mine.unsqueeze(1), expert(observation).flatten(1), labels)
        scale = self._to_environment
        if scale.centre is None or scale.half_width is None:
            return labels
        return (labels - scale.centre) / scale.half_width

    def _act(self) -> Rollout:
        share = schedules.value(self.expert_share, self.num_timesteps)
        labels: list[Tensor] = []

        def choose(observation: Tensor, policy: Distribution) -> Tensor:
            labels.append(self.label(observation))
            taught = torch.rand(len(observation), 1, generator=self.generator, device=self.device) < share
            return torch.where(taught, labels[-1], policy.mode())

        rollout = collect(self, lambda taken, ended: taken < self.settings.n_steps, choose)
        self._labels = torch.stack(labels)
        return rollout

    @torch.no_grad()
    def _improve(self, rollout: Rollout) -> dict[str, float]:
        s, model = self.settings, self.model
        advantage = generalized_advantage(
            rollout.reward, rollout.value, rollout.next_value, rollout.terminated, rollout.truncated, s.gamma, s.gae_lambda
        )
        returns = rollout.flat(advantage + rollout.value)
        observed, labels = rollout.flat(rollout.observations), rollout.flat(self._labels)
        if not len(returns):
            return {}  # all worlds were only reset
        before = rollout.flat(rollout.value)
        model.returns.update(returns)
        target = (returns - model.returns.mean) / model.returns.std
        self.optimizer.param_groups[0]["lr"] = self._scheduled("learning_rate")
        size, losses = min(s.batch_size, len(observed)), []
        for _ in range(s.n_epochs):
            order = torch.randperm(len(observed), generator=self.generator, device=self.device)
            for rows in order.split(size):
                seen, wanted = self._with_old(observed[rows], labels[rows])
                policy, value = self.explicit(model.features(seen))
                error = policy.mode() - wanted
                missed = torch.zeros_like(value)  # returns of what was seen before are not known any more
                missed[: len(rows)] = value[: len(rows)] - target[rows]
                norm = self._descend(2 * error / error.numel(), None, 2 * s.vf_coef / len(rows) * missed)
                losses.append(torch.stack((error[: len(rows)].square().mean(), missed.square().sum() / len(rows), norm)))
        self._keep(observed, labels)
        loss, value_loss, norm = torch.stack(losses).mean(dim=0).tolist()
        return {
            "imitation_loss": loss,
            "value_loss": value_loss,
            "gradient_norm": norm,
            "expert_share": schedules.value(self.expert_share, self.num_timesteps),
            "explained_variance": explained_variance(before, returns),
        }

    def _with_old(self, observed: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Samples, and as many that were kept behind them."""
        if self._kept is None:
            return observed, labels
        rows = torch.randint(self._filled, (len(observed),), generator=self.generator, device=self.device)
        old = self._kept[0][rows], self._kept[1][rows]
        return torch.cat((observed, old[0])), torch.cat((labels, old[1]))

    def _keep(self, observed: Tensor, labels: Tensor) -> None:
        """Keep samples in place of the oldest ones."""
        if self._kept is None:
            shapes = (self.memory_size, observed.shape[1]), (self.memory_size, labels.shape[1])
            self._kept = observed.new_zeros(shapes[0]), observed.new_zeros(shapes[1])
        count = min(len(observed), self.memory_size)
        where = (self._next + torch.arange(count, device=self.device)) % self.memory_size
        for kept, new in zip(self._kept, (observed, labels), strict=True):
            kept[where] = new[-count:]
        self._next = (self._next + count) % self.memory_size
        self._filled = min(self._filled + count, self.memory_size)

    def _extra_state(self) -> dict[str, Tensor]:
        kept = dict(zip(("observations", "labels"), self._kept or (), strict=False))
        where = {"next": torch.tensor(self._next), "filled": torch.tensor(self._filled)}
        return super()._extra_state() | {f"kept.{key}": value for key, value in (kept | where).items()}

    def _restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        super()._restore_extra_state(tensors)
        if "kept.labels" in tensors:  # and not where PPO has gone on meanwhile
            self._kept = tensors["kept.observations"].to(self.device), tensors["kept.labels"].to(self.device)
            self._next, self._filled = int(tensors["kept.next"]), int(tensors["kept.filled"])
