"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905): a policy that is rewarded for its entropy, from a replay memory.

One iteration: act by drawing from the policy and remember it; for each minibatch move two action values towards
r + γ (min Q'(s', a') - α log π(a'|s')), the policy towards what they value, and α towards where the policy's entropy is as wanted.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from mprl.agents.agent import Metrics
from mprl.agents.descriptions import in_words
from mprl.agents.eyes import Eyes
from mprl.agents.off_policy import Behaviour, OffPolicyAgent, OffPolicySettings
from mprl.agents.policy import DeterministicPolicy
from mprl.agents.replay import Transitions
from mprl.errors import SettingError
from mprl.nn import averaging, precision, schedules
from mprl.nn.distributions import SquashedGaussian
from mprl.nn.explicit import ExplicitMLP
from mprl.nn.flat import FlatAdam, FlatParameters
from mprl.nn.mlp import mlp
from mprl.nn.schedules import Scheduled

LOG_STD = (-20.0, 2.0)  # bounds of the logarithm of the standard deviation


@dataclass(frozen=True)
class SACSettings(OffPolicySettings):
    """Settings of SAC."""

    tau: float = 0.005
    """How far the target networks go towards those that learn, at each gradient step."""
    ent_coef: Scheduled = 1.0
    """Weight α of the entropy, where rewards have weight 1; where it is learned, at the start."""
    learn_ent_coef: bool = True
    """Learn α so that the entropy is `target_entropy`, or keep to `ent_coef`."""
    target_entropy: float | None = None
    """Entropy that the policy should have, nats, where the action range is [-1, 1]; None: minus the number of actions."""

    _fractions: ClassVar[tuple[str, ...]] = ("gamma", "tau")
    _positive_schedules: ClassVar[tuple[str, ...]] = ("learning_rate", "ent_coef")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tau > 0:
            raise SettingError(f"tau must be positive, found {self.tau}")
        if self.learn_ent_coef and isinstance(self.ent_coef, str):
            raise SettingError(f"ent_coef '{self.ent_coef}' is a schedule: set learn_ent_coef=False too, or give the number to learn from")
        if self.target_entropy is not None and not self.learn_ent_coef:
            raise SettingError("target_entropy is for a weight of the entropy that is learned, found learn_ent_coef=False")


class ActorCritic(nn.Module):
    """A policy (means and logarithms of standard deviations) and two action values, on the same eyes where these learn along."""

    def __init__(self, observation_size: int, actions: int, settings: SACSettings, eyes: Eyes | None = None) -> None:
        super().__init__()
        s = settings
        self.eyes = eyes
        observation_size = observation_size if eyes is None else eyes.size
        self.actor = mlp(observation_size, s.hidden, 2 * actions, s.activation, output_gain=0.01)
        self.critics = nn.ModuleList(mlp(observation_size + actions, s.hidden, 1, s.activation) for _ in range(2))
        self.log_ent_coef = nn.Parameter(torch.tensor([math.log(schedules.value(s.ent_coef, 0))]))

    def policy(self, observation: Tensor) -> SquashedGaussian:
        """The distribution of actions in [-1, 1] for observations (N, n)."""
        return policy(self.actor(observation))


def policy(output: Tensor) -> SquashedGaussian:
    """The distribution that the actor's output (N, 2a) stands for."""
    mean, log_std = output.chunk(2, dim=-1)
    return SquashedGaussian(mean, log_std.clamp(*LOG_STD))


def soft_target(reward: Tensor, discount: Tensor, next_values: Tensor, next_log_prob: Tensor, ent_coef: float) -> Tensor:
    """r + γ (min Q'(s', a') - α log π(a'|s')), (N,); next_values (2, N)."""
    return reward + discount * (next_values.amin(0) - ent_coef * next_log_prob)


class SAC(OffPolicyAgent):
    """`SAC(env, seed=0, **settings)`: see `SACSettings`, and `Agent` for the interface.

    Args:
        env: a Gymnasium environment, single or vector, with actions in a Box with finite bounds.
        seed: of weights, noise and minibatches.
        device: where the networks live; by default the environment's. The memory is on the CPU.
        settings: fields of `SACSettings`; what is not given comes from the preset for this environment, if there is one.
    """

    name = "sac"
    action_spaces = (Box,)
    Settings = SACSettings
    settings: SACSettings

    def _build(self) -> None:
        s = self.settings
        require_bounds(self.action_space)
        self.actions = math.prod(self.action_space.shape)
        self.target_entropy = -float(self.actions) if s.target_entropy is None else s.target_entropy
        self.model = ActorCritic(self.observation_size, self.actions, s, self._learning_eyes).to(self.device)
        self.target, self.target_eyes = copy.deepcopy((self.model.critics, self.model.eyes))
        valuing = [*self.model.critics.parameters(), *(() if self.model.eyes is None else self.model.eyes.parameters())]
        parts = {"actor": self.model.actor.parameters(), "critics": valuing, "ent_coef": [self.model.log_ent_coef]}
        self.parameters = {name: FlatParameters(part) for name, part in parts.items()}
        target_parameters = [*self.target.parameters(), *(() if self.target_eyes is None else self.target_eyes.parameters())]
        self._target_parameters = FlatParameters(target_parameters)
        rate = schedules.value(s.learning_rate, 0)
        self.optimizers = {name: FlatAdam(part.vector, lr=rate) for name, part in self.parameters.items()}
        reduced = precision.uses_bfloat16(s.precision, self.device)
        self._actor = ExplicitMLP(self.model.actor, reduced)
        self._critics, self._targets = ([ExplicitMLP(net, reduced) for net in nets] for nets in (self.model.critics, self.target))  # type: ignore[arg-type]
        self.averaging = averaging.averaged(self.model.actor, s.averaging)
        self._judged = self._actor if self.averaging is None else ExplicitMLP(self.averaging.average, reduced)
        self._notes: list[Tensor] = []

    def _action_kind(self) -> tuple[tuple[int, ...], torch.dtype]:
        return (self.actions,), torch.float32

    def _behaviour(self, steps: int, random: bool) -> Behaviour:
        if random:
            shape = (steps, self.batch.num_worlds, self.actions)
            anything = 2 * torch.rand(shape, generator=self.generator, device=self.device) - 1
            return lambda t, observation: anything[t]
        return lambda t, observation: policy(self._actor(self._seen(observation))).sample(self.generator)

    @torch.no_grad()
    def _seen(self, observation: Tensor, target: bool = False) -> Tensor:
        """What the networks see; the target networks by older eyes."""
        eyes = self.target_eyes if target else self.model.eyes
        return observation if eyes is None else eyes(observation)

    # --- learning -----------------------------------------------------------------------------------------------------------

    @property
    def ent_coef(self) -> float:
        """The weight of the entropy as of now."""
        return float(self.model.log_ent_coef.detach().exp()) if self.settings.learn_ent_coef else self._scheduled("ent_coef")

    def _improve(self, gradient_steps: int) -> None:
        s, rate = self.settings, self._scheduled("learning_rate")
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = rate
        for _ in range(gradient_steps):
            drawn = self.replay[self.replay.sample(s.batch_size, self._draws)]
            drawn = self._augmented(Transitions(*(field.to(self.device) for field in drawn)))
            ent_coef = self.ent_coef
            of_critics = self._improve_critics(drawn, ent_coef)
            of_actor = self._improve_actor(self._seen(drawn.observation), ent_coef)
            self._target_parameters.vector.data.lerp_(self.parameters["critics"].vector.data, s.tau)
            self._notes.append(torch.stack((*of_critics, *of_actor)))

    def _improve_critics(self, drawn: Transitions, ent_coef: float) -> tuple[Tensor, Tensor]:
        """One step of both action values along the gradient of ½ (Q(s, a) - target)², eq. 5. Eyes learn from these alone (SAC-AE)."""
        next_action, next_log_prob = policy(self._actor(self._seen(drawn.next_observation))).rsample(self.generator)
        following = torch.cat((self._seen(drawn.next_observation, target=True), next_action), -1)
        next_values = torch.stack([net(following).squeeze(-1) for net in self._targets])
        target = soft_target(drawn.reward, drawn.discount, next_values, next_log_prob, ent_coef)
        seen = drawn.observation if self.model.eyes is None else self.model.eyes(drawn.observation)
        taken = torch.cat((seen.detach(), drawn.action), -1)
        errors, slope = [], torch.zeros_like(taken)
        for net in self._critics:
            error = net(taken).squeeze(-1) - target
            of_inputs = net.backward(error.unsqueeze(-1) / len(target), inputs=seen.requires_grad)
            slope = slope + of_inputs if seen.requires_grad else slope
            errors.append(error)
        if self.model.eyes is not None:
            for parameter in self.model.eyes.parameters():
                if parameter.grad is not None:
                    parameter.grad.zero_()
            seen.backward(slope[:, : -self.actions])
        self.optimizers["critics"].descend()
        return 0.5 * torch.stack(errors).square().mean(), target.mean()

    def _improve_actor(self, observation: Tensor, ent_coef: float) -> tuple[Tensor, Tensor]:
        """One step of the policy along the gradient of α log π(a|s) - min Q(s, a) for its own a, eq. 7; and one of α, eq. 18."""
        count = len(observation)
        output = self._actor(observation).requires_grad_()
        action, log_prob = policy(output).rsample(self.generator)
        seen = torch.cat((observation, action.detach()), -1)
        values = torch.stack([net(seen).squeeze(-1) for net in self._critics])
        value, least = values.min(0)
        slope = torch.zeros_like(action)
        for which, net in enumerate(self._critics):  # the slope of -min Q for the action goes through the critic that is the lower one
            share = (least == which).float().unsqueeze(-1) / -count
            slope += net.backward(share, weights=False, inputs=True)[:, -self.actions :]
        torch.autograd.backward((action, log_prob), (slope, torch.full_like(log_prob, ent_coef / count)))
        self._actor.backward(output.grad)  # type: ignore[arg-type]
        self.optimizers["actor"].descend()
        if self.averaging is not None:
            self.averaging.update(self.steps)
        entropy = -log_prob.detach().mean()
        if self.settings.learn_ent_coef:
            self.parameters["ent_coef"].gradient.fill_(entropy - self.target_entropy)
            self.optimizers["ent_coef"].descend()
        return (-ent_coef * entropy - value.mean()), entropy

    def _take_metrics(self) -> Metrics:
        log = {"ent_coef": self.ent_coef, "learning_rate": self.optimizers["actor"].param_groups[0]["lr"]}
        steps = len(self._notes)
        if steps:
            names = ("critic_loss", "q_value", "actor_loss", "entropy")
            log |= dict(zip(names, torch.stack(self._notes).mean(0).tolist(), strict=True))
        self._notes = []
        return log | {"gradient_steps": float(steps)}

    # --- the rest -----------------------------------------------------------------------------------------------------------

    def _choose(self, observation: Tensor, deterministic: bool) -> Tensor:
        found = policy(self._judged(self._seen(observation)))
        return self._to_environment(found.mode() if deterministic else found.sample(self.generator))

    def policy_module(self) -> nn.Module:
        network = self.model.actor if self.averaging is None else self.averaging.average
        if self.model.eyes is not None:
            network = nn.Sequential(self.model.eyes, network)
        return DeterministicPolicy(self._after_eyes(network), lambda output: policy(output).mode(), self._to_environment)

    def _networks(self) -> dict[str, nn.Module]:
        averages = {} if self.averaging is None else {"averaging": self.averaging}
        eyes = {} if self.target_eyes is None else {"target_eyes": self.target_eyes}
        return {"model": self.model, "target": self.target, **eyes, **averages}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return dict(self.optimizers)


def require_bounds(space: Any) -> None:
    """Raise a `SettingError` unless a Box of actions is bounded: the policy's actions fill a finite range."""
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise SettingError(f"sac needs actions with finite bounds, found {in_words(space)}; bound them with a wrapper, or use ppo")
