"""Deep Q-learning (Mnih et al. 2015, Nature 518), with what was found since: Double, dueling, n-step and prioritised, εz-greedy.

One iteration: act ε-greedily for a while and remember it; draw minibatches of what is remembered, and move Q(s, a) towards
r + γ max Q'(s', ·), where Q' is a copy of Q that is renewed now and then.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor, nn

from mprl.agents.agent import Metrics
from mprl.agents.off_policy import Behaviour, OffPolicyAgent, OffPolicySettings
from mprl.agents.policy import DeterministicPolicy
from mprl.agents.q_network import ExplicitQ, QNetwork
from mprl.agents.replay import PrioritizedReplay, Transitions
from mprl.errors import SettingError
from mprl.nn import averaging, precision, schedules
from mprl.nn.flat import FlatAdam, FlatParameters
from mprl.nn.schedules import Scheduled

ROWS = 512  # in one product of matrices: more of them leave the processor's cache
AT_ONCE = 2**22  # numbers of observations that minibatches are drawn together for, so that they take little memory
LONGEST = 1000  # steps that a random action is kept to


@dataclass(frozen=True)
class DQNSettings(OffPolicySettings):
    """Settings of DQN."""

    learning_rate: Scheduled = 1e-4
    """Adam's step size."""
    batch_size: int = 32
    """Transitions in a minibatch."""
    train_freq: int = 4
    """Steps in every world between two times of learning."""
    target_update_interval: int = 10_000
    """Environment steps, over all worlds, between two updates of the target network."""
    tau: float = 1.0
    """How far the target network goes towards the one that learns: 1 is all the way."""
    exploration: Scheduled = "linear 1.0 0.05 100000"
    """Share of random actions, ε."""
    exploration_mu: float | None = None
    """Keep to a random action for n steps, P(n) ∝ n^-μ, 2 for a start: for where single steps lead nowhere. None: for one step."""
    max_grad_norm: float = 10.0
    """Greatest norm of the gradient."""
    huber: bool = True
    """Errors greater than 1 count in proportion, not by their square."""
    double: bool = False
    """Double DQN: the action is chosen by the network that learns, its value is the target network's."""
    dueling: bool = False
    """Dueling networks: a value and advantages, added."""
    prioritized: bool = False
    """Draw transitions by their last error, not uniformly."""
    prioritized_alpha: float = 0.6
    """By which power of their error."""
    prioritized_beta: Scheduled = "linear 0.4 1.0 100000"
    """How much of the unequal drawing the weights make up for."""

    _positive: ClassVar[tuple[str, ...]] = (*OffPolicySettings._positive, "target_update_interval", "max_grad_norm")
    _fractions: ClassVar[tuple[str, ...]] = ("gamma", "exploration", "tau", "prioritized_alpha", "prioritized_beta")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tau > 0:
            raise SettingError(f"tau must be positive, found {self.tau}")
        if self.exploration_mu is not None and not self.exploration_mu > 0:
            raise SettingError(f"exploration_mu must be positive, or None to explore by single steps, found {self.exploration_mu}")
        if self.dueling and not self.hidden:
            raise SettingError("dueling networks need a hidden layer, found hidden=()")


def q_target(reward: Tensor, discount: Tensor, next_values: Tensor, next_action: Tensor | None = None) -> Tensor:
    """r + γ max_a Q'(s', a), or the value of `next_action` instead of the greatest (van Hasselt et al. 2016). (N,); next_values (N, A)."""
    value = next_values.amax(-1) if next_action is None else next_values.gather(-1, next_action.unsqueeze(-1)).squeeze(-1)
    return torch.addcmul(reward, discount, value)


class DQN(OffPolicyAgent):
    """`DQN(env, seed=0, **settings)`: see `DQNSettings`, and `Agent` for the interface.

    Args:
        env: a Gymnasium environment, single or vector, with Discrete actions.
        seed: of weights, exploration and minibatches.
        device: where the networks live; by default the environment's. The memory is on the CPU.
        settings: fields of `DQNSettings`; what is not given comes from the preset for this environment, if there is one.
    """

    name = "dqn"
    action_spaces = (Discrete,)
    Settings = DQNSettings
    settings: DQNSettings

    def _build(self) -> None:
        s = self.settings
        self.actions = int(self.action_space.n)
        self.model = QNetwork(self.observation_size, self.actions, s.hidden, s.activation, s.dueling, self._learning_eyes).to(self.device)
        self.target = copy.deepcopy(self.model)
        self.parameters, self._target_parameters = (FlatParameters(net.parameters()) for net in (self.model, self.target))
        self.optimizer = FlatAdam(self.parameters.vector, lr=schedules.value(s.learning_rate, 0))
        reduced = precision.uses_bfloat16(s.precision, self.device)
        self._q, self._q_target = ExplicitQ(self.model, reduced), ExplicitQ(self.target, reduced)
        self.averaging = averaging.averaged(self.model, s.averaging)
        self._q_judged = self._q if self.averaging is None else ExplicitQ(self.averaging.average, reduced)
        self._notes: list[Tensor] = []
        self._norms: list[float] = []

    def set_env(self, env: Any) -> None:
        super().set_env(env)
        self._kept = torch.zeros(2, self.batch.num_worlds, dtype=torch.int64)  # random actions, and for how many steps yet

    def _action_kind(self) -> tuple[tuple[int, ...], torch.dtype]:
        return (), torch.int64

    def _behaviour(self, steps: int, random: bool) -> Behaviour:
        self.epsilon = 1.0 if random else self._scheduled("exploration")
        explores, anything = self._exploration(steps)
        everywhere, somewhere = explores.all(1).tolist(), explores.any(1).tolist()

        def act(t: int, observation: Tensor) -> Tensor:
            if everywhere[t]:
                return anything[t]
            greedy = self._q(observation, learn=False).argmax(-1)
            return torch.where(explores[t], anything[t], greedy) if somewhere[t] else greedy

        return act

    def _exploration(self, steps: int) -> tuple[Tensor, Tensor]:
        """When to explore in the steps to come, and by which actions, (T, W) both (ε-greedy, or εz-greedy: Dabney et al. 2021, alg. 1)."""
        shape, s = (steps, self.batch.num_worlds), self.settings
        explores = torch.rand(shape, generator=self.generator, device=self.device) < self.epsilon
        actions = torch.randint(self.actions, shape, generator=self.generator, device=self.device)
        if s.exploration_mu is None:
            return explores, actions
        longest = torch.arange(1, LONGEST + 1, dtype=torch.float64, device=self.device)
        shares = (longest**-s.exploration_mu).cumsum(0)
        uniform = torch.rand(shape, generator=self.generator, device=self.device, dtype=torch.float64)
        lengths = 1 + torch.searchsorted(shares, uniform * shares[-1])
        action, left = self._kept.to(self.device)
        for t in range(steps):
            begins = explores[t] & (left == 0)
            action, left = torch.where(begins, actions[t], action), torch.where(begins, lengths[t], left)
            explores[t], actions[t] = left > 0, action
            left = (left - 1).clamp_(min=0)
        self._kept = torch.stack((action, left))
        return explores, actions

    def _improve(self, gradient_steps: int) -> None:
        s, replay = self.settings, self.replay
        self._renew_target()
        self.optimizer.param_groups[0]["lr"] = self._scheduled("learning_rate")
        if isinstance(replay, PrioritizedReplay):
            beta = self._scheduled("prioritized_beta")
            for _ in range(gradient_steps):  # each minibatch is drawn by the errors that the one before left behind
                rows = replay.sample(s.batch_size, self._draws)
                replay.update(rows, self._descend(replay[rows], replay.importance(rows, beta)).cpu())
            return
        most = max(1, AT_ONCE // (s.batch_size * self.observation_size))
        for steps in np.diff([*range(0, gradient_steps, most), gradient_steps]).tolist():
            self._descend(replay[replay.sample(steps * s.batch_size, self._draws)])

    def _descend(self, drawn: Transitions, weight: Tensor | None = None) -> Tensor:
        """Gradient steps, one on each minibatch of N transitions; returns the errors Q(s, a) - target, (N,).

        The target network stays as it is meanwhile, so that it values all of them in a few large products of matrices.
        """
        s = self.settings
        drawn = self._augmented(Transitions(*(field.to(self.device) for field in drawn)))
        next_values = torch.cat([self._q_target(part, learn=False) for part in drawn.next_observation.split(ROWS)])
        share = nn.functional.one_hot(drawn.action, self.actions) / s.batch_size  # of every Q(s, ·) in the mean of the losses
        if weight is not None:
            share *= weight.to(self.device).unsqueeze(-1)
        bound = 1.0 if s.huber else math.inf
        targets, differences = [], []
        columns = (*drawn, next_values, q_target(drawn.reward, drawn.discount, next_values), share)
        for batch in zip(*(column.split(s.batch_size) for column in columns), strict=True):
            observation, _, reward, discount, next_observation, next_values, target, share = batch
            if s.double:
                target = q_target(reward, discount, next_values, self._q(next_observation, learn=False).argmax(-1))
            difference = self._q(observation) - target.unsqueeze(-1)
            if self._q.eyes is not None:
                self.parameters.zero_gradient()
            # the slope of Huber's loss is the error, cut off at ±1; that of half the square is the error itself
            self._q.backward(difference.clamp(-bound, bound).mul_(share))
            self._norms.append(float(self.parameters.clip_gradient(s.max_grad_norm)))
            self.optimizer.descend()
            if self.averaging is not None:
                self.averaging.update(self.steps)
            targets.append(target)
            differences.append(difference)
        error = torch.cat(differences).gather(-1, drawn.action.unsqueeze(-1)).squeeze(-1)
        loss = nn.functional.huber_loss(error, torch.zeros_like(error)) if s.huber else 0.5 * error.square().mean()
        self._notes.append(torch.stack((loss, (error + torch.cat(targets)).mean())) * len(targets))
        return error

    def _renew_target(self) -> None:
        """Towards the network that learns, once for each interval since the last time."""
        s = self.settings
        before = self.steps - s.train_freq * self.batch.num_worlds
        times = self.steps // s.target_update_interval - before // s.target_update_interval
        if times:
            self._target_parameters.vector.data.lerp_(self.parameters.vector.data, 1 - (1 - s.tau) ** times)

    def _take_metrics(self) -> Metrics:
        log = {"epsilon": self.epsilon, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        steps = len(self._norms)
        if steps:
            log |= dict(zip(("loss", "q_value"), (torch.stack(self._notes).sum(0) / steps).tolist(), strict=True))
            log["gradient_norm"] = sum(self._norms) / steps
        self._notes, self._norms = [], []
        return log | {"gradient_steps": float(steps)}

    def _extra_state(self) -> dict[str, Tensor]:
        return {**super()._extra_state(), "kept": self._kept}

    def _restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        super()._restore_extra_state(tensors)
        self._kept = tensors["kept"]

    def _choose(self, observation: Tensor, deterministic: bool) -> Tensor:
        """The best action; with `deterministic=False` a random one as often as while learning."""
        greedy = self._q_judged(observation, learn=False).argmax(-1)
        if not deterministic:
            epsilon = schedules.value(self.settings.exploration, self.num_timesteps)
            explores = torch.rand(len(greedy), generator=self.generator, device=self.device) < epsilon
            greedy = torch.where(explores, torch.randint(self.actions, greedy.shape, generator=self.generator, device=self.device), greedy)
        return self._to_environment(greedy)

    def policy_module(self) -> nn.Module:
        network = self.model if self.averaging is None else self.averaging.average
        return DeterministicPolicy(self._after_eyes(network), lambda q: q.argmax(-1), self._to_environment)

    def _networks(self) -> dict[str, nn.Module]:
        averages = {} if self.averaging is None else {"averaging": self.averaging}
        return {"model": self.model, "target": self.target, **averages}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model": self.optimizer}
