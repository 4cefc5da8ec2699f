"""What agents share that learn a policy from what that policy itself did: settings, acting, the step of the optimiser."""

from __future__ import annotations

import functools
import math
import statistics
import time
from abc import abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mprl.agents import spaces
from mprl.agents.actor_critic import ActorCritic, ExplicitActorCritic
from mprl.agents.agent import Agent, Metrics
from mprl.agents.policy import DeterministicPolicy
from mprl.agents.rollout import Rollout, collect
from mprl.errors import SettingError
from mprl.nn import averaging, precision, recurrent, schedules
from mprl.nn.flat import FlatAdam, FlatParameters
from mprl.nn.mlp import ACTIVATIONS
from mprl.nn.schedules import Scheduled
from mprl.ranks import ALONE, Ranks


@dataclass(frozen=True)
class OnPolicySettings:
    """Settings that these agents share."""

    learning_rate: Scheduled = 3e-4
    """Step size of the optimiser."""
    gamma: float = 0.99
    """Discount of the future."""
    ent_coef: Scheduled = 0.0
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Greatest norm of the gradient."""
    hidden: tuple[int, ...] = (64, 64)
    """Sizes of the hidden layers, of policy and value alike."""
    activation: str = "tanh"
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
    recurrent: str = "none"
    """Memory between the observations and the networks: none, lstm, gru or rnn."""
    recurrent_size: int = 64
    """Numbers in the memory; an LSTM has them twice."""
    averaging: str = "none"
    """Average of the weights that the agent is judged by: none; ema 0.995, with corrected behind it or not; swa 50000 (from this step)."""

    _positive: ClassVar[tuple[str, ...]] = ("max_grad_norm", "initial_std", "std_steps", "recurrent_size")
    _fractions: ClassVar[tuple[str, ...]] = ("gamma",)
    _positive_schedules: ClassVar[tuple[str, ...]] = ("learning_rate",)

    def __post_init__(self) -> None:
        for name in self._positive:
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be positive, found {getattr(self, name)}")
        for name in self._positive_schedules:
            if not (schedules.bounds(getattr(self, name))[0] >= 0 < schedules.bounds(getattr(self, name))[1]):
                raise SettingError(f"{name} must be positive, found {getattr(self, name)}")
        for name in ("ent_coef", "vf_coef"):
            if not schedules.bounds(getattr(self, name))[0] >= 0:
                raise SettingError(f"{name} must be at least 0, found {getattr(self, name)}")
        for name in self._fractions:
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} must be in [0, 1], found {getattr(self, name)}")
        if any(size < 1 for size in self.hidden):
            raise SettingError(f"hidden must be sizes of at least 1, found {self.hidden}")
        if self.final_std is not None and self.learn_std:
            raise SettingError("final_std is for a standard deviation that is not learned: set learn_std=False too")
        if self.final_std is not None and not self.final_std > 0:
            raise SettingError(f"final_std must be positive, found {self.final_std}")
        if self.precision not in precision.PRECISIONS:
            raise SettingError(f"precision must be one of {', '.join(precision.PRECISIONS)}, found '{self.precision}'")
        if self.activation not in ACTIVATIONS:
            raise SettingError(f"activation must be one of {', '.join(ACTIVATIONS)}, found '{self.activation}'")
        if self.recurrent not in ("none", *recurrent.KINDS):
            raise SettingError(f"recurrent must be one of none, {', '.join(recurrent.KINDS)}, found '{self.recurrent}'")
        averaging.parse(self.averaging)


class OnPolicyAgent(Agent):
    """An agent that acts for a while with its policy, learns from that, and forgets it."""

    settings: OnPolicySettings
    perceives = True
    memory: recurrent.State  # after the observation before the one to act on next
    begins: Tensor  # where that is the first of an episode, (W,) bool

    def _build(self) -> None:
        self.model = ActorCritic(self.observation_size, self.action_space, self.settings, self._learning_eyes).to(self.device)
        self.model.reduced = precision.uses_bfloat16(self.settings.precision, self.device)
        self.parameters = FlatParameters(self.model.parameters())
        self.explicit = ExplicitActorCritic(self.model)
        self.averaging = averaging.averaged(self.model, self.settings.averaging)
        self.optimizer = self._make_optimizer(self.parameters.vector, schedules.value(self.settings.learning_rate, 0))

    def _make_optimizer(self, vector: nn.Parameter, learning_rate: float) -> Any:
        return FlatAdam(vector, learning_rate, eps=1e-5)

    @abstractmethod
    def _act(self) -> Rollout:
        """Gather what is learned from next."""

    @abstractmethod
    def _improve(self, rollout: Rollout) -> Metrics:
        """Learn from it."""

    def _updates(self) -> int:
        """Times of acting and learning in an iteration."""
        return 1

    def _iteration(self) -> Metrics:
        began = time.perf_counter()
        if self.ranks.size > 1:
            self.ranks.seconds()
            # processors of different kinds round differently: nobody drifts away
            self.ranks.from_first(self.model.state_dict().values())
        if self.settings.normalize_observations and not self.model.observations.count:
            # Unseen statistics would make the first update a wild one: watch for one rollout, which counts for nothing.
            watched = self._act()
            self.model.watch(watched.observations, self.ranks)
            self._count([watched])
            self.statistics.take(self.ranks)
        self._set_std()
        rollouts, logs, acting = [], [], 0.0
        for _ in range(self._updates()):
            start = time.perf_counter()
            rollouts.append(self._act())
            acting += time.perf_counter() - start
            logs.append(self._improve(rollouts[-1]))
            if self.settings.normalize_observations:
                self.model.watch(rollouts[-1].observations, self.ranks)
        self._count(rollouts)
        log = self.statistics.take(self.ranks)
        learned = [each for each in logs if each]
        log |= {key: statistics.fmean(each[key] for each in learned) for key in (learned[0] if learned else ())}
        log["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        if self.model.log_std is not None:
            log["action_std"] = float(self.model.log_std.detach().exp().mean())
        log["time_acting"], log["time_learning"] = acting, time.perf_counter() - began - acting
        if self.ranks.size > 1:
            log["time_communicating"] = self.ranks.seconds()
            log["time_learning"] -= log["time_communicating"]
        return log

    def _count(self, rollouts: list[Rollout]) -> None:
        """Tell the statistics of one rollout after the other."""
        columns = ("reward", "terminated", "truncated", "valid")
        self.statistics.add(*(torch.cat([getattr(rollout, column) for rollout in rollouts]) for column in columns))

    def _minibatch(self) -> int:
        gathered = self._samples_per_iteration() // self._updates() if self.batch is not None else 0
        return -(-min(gathered, getattr(self.settings, "batch_size", gathered)) // self.ranks.size)

    def _collect(self, steps: int) -> Rollout:
        return collect(self, lambda taken, ended: taken < steps)

    def _scheduled(self, name: str) -> float:
        """A setting that may follow a schedule, as of now."""
        return schedules.value(getattr(self.settings, name), self.num_timesteps)

    def _set_std(self) -> None:
        s = self.settings
        if self.model.log_std is None or s.learn_std or s.final_std is None:
            return
        share = min(1.0, self.num_timesteps / s.std_steps)
        self.model.log_std.data.fill_((1 - share) * math.log(s.initial_std) + share * math.log(s.final_std))

    def _descend(self, of_output: Tensor, of_log_std: Tensor | None, of_value: Tensor) -> Tensor:
        """One step of the optimiser, given the slopes (see `ExplicitActorCritic`) of a loss that is a mean over this rank's samples;
        returns the norm, before clipping, of the gradient of the mean over the samples of all ranks.
        """
        self.parameters.zero_gradient()
        self.explicit.backward(of_output, of_log_std, of_value)
        self.ranks.average_gradient(self.parameters.gradient, len(of_value))
        norm = self.parameters.clip_gradient(self.settings.max_grad_norm)
        self.optimizer.descend()
        if self.averaging is not None:
            self.averaging.update(self.num_timesteps)
        return norm

    @property
    def _judged(self) -> ActorCritic:
        """The networks that the agent is judged by."""
        return self.model if self.averaging is None else self.averaging.average

    def set_env(self, env: Any) -> None:
        super().set_env(env)
        self._forget()

    def _first_observation(self) -> Tensor:
        self._forget()
        return super()._first_observation()

    def _forget(self) -> None:
        worlds = self.batch.num_worlds
        self.memory, self.begins = self.model.initial_memory(worlds), torch.ones(worlds, dtype=torch.bool, device=self.device)

    def _extra_state(self) -> dict[str, Tensor]:
        if self.model.core is None or self.observation is None:
            return {}
        return {"begins": self.begins} | {f"memory.{place}": part for place, part in enumerate(self.memory)}

    def _restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        if self.model.core is not None and self.observation is not None:
            for place, part in enumerate(self.memory):
                part.copy_(tensors[f"memory.{place}"])
            self.begins.copy_(tensors["begins"])

    def _choose(self, observation: Tensor, deterministic: bool) -> Tensor:
        if self.model.core is not None:
            raise SettingError(
                f"this agent remembers (recurrent='{self.settings.recurrent}'): act with predict(observation, state, episode_start)"
            )
        return self.act_on(observation, None, None, deterministic)[0]

    @torch.no_grad()
    def act_on(self, observation: Tensor, memory: Any, begins: Any, deterministic: bool = False) -> tuple[Tensor, Any]:
        model = self._judged
        if model.core is None:
            features = model.features(observation)
        else:
            state = model.initial_memory(len(observation)) if memory is None else self._checked(memory, len(observation))
            start = None if begins is None else torch.as_tensor(begins, dtype=torch.bool, device=self.device).reshape(-1)
            features, memory = model.see(observation, state, start)
        policy = model.policy(features)
        return self._to_environment(policy.mode() if deterministic else policy.sample(self.generator)), memory

    def _checked(self, memory: Any, worlds: int) -> recurrent.State:
        state = tuple(torch.as_tensor(part, device=self.device) for part in memory)
        expected = self.model.initial_memory(worlds)
        if [part.shape for part in state] != [part.shape for part in expected]:
            shapes = [", ".join(str(tuple(part.shape)) for part in parts) for parts in (expected, state)]
            raise SettingError(f"expected a state of shapes {shapes[0]}, found {shapes[1]}: it is what the call before returned")
        return state

    def policy_module(self) -> nn.Module:
        if self.model.core is not None:
            raise SettingError(f"a policy that remembers cannot be exported (recurrent='{self.settings.recurrent}')")
        network = self._after_eyes(self._judged.policy_network())
        return DeterministicPolicy(network, functools.partial(spaces.mode, self.action_space), self._to_environment)

    def _set_by_settings(self) -> Collection[str]:
        return () if self.settings.learn_std else ("model.log_std",)

    def _networks(self) -> dict[str, nn.Module]:
        return {"model": self.model} if self.averaging is None else {"model": self.model, "averaging": self.averaging}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": self.optimizer}


def explained_variance(value: Tensor, returns: Tensor, ranks: Ranks = ALONE) -> float:
    """Share of the returns' variance that the value tells, at most 1."""
    return float(1 - ranks.variance(returns - value) / (ranks.variance(returns) + 1e-8))
