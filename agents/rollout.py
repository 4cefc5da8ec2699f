"""What a policy saw and did in W worlds, gathered for learning from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mprl.nn.distributions import Distribution
from mprl.nn.recurrent import State
from mprl.ranks import ALONE, Ranks, dealt

if TYPE_CHECKING:
    from mprl.agents.actor_critic import ActorCritic
    from mprl.agents.on_policy import OnPolicyAgent


@dataclass
class Rollout:
    """T steps in W worlds; features are what the networks saw, standardised observations. Networks with a memory saw that too."""

    features: Tensor  # (T, W, n)
    action: Tensor  # (T, W, a) or (T, W)
    reward: Tensor  # (T, W), and so on
    terminated: Tensor
    truncated: Tensor
    valid: Tensor  # False where a step only reset its world
    value: Tensor
    next_value: Tensor  # of what the step led to: of an episode's last observation, never of another's first
    observations: Tensor  # (T, W, n), as they came
    begins: Tensor | None  # where a step is the first of its episode; None where nothing remembers
    memory: State  # before the first step

    def minibatches(self, model: ActorCritic, size: int, generator: torch.Generator, ranks: Ranks = ALONE) -> Iterator[tuple[Any, Tensor]]:
        """All valid samples in random order, about `size` at a time; a last scrap is left out.

        A network with a memory gets whole sequences, all steps of some worlds. Of several ranks each has its part of every minibatch,
        so that all have as many of them.

        Yields:
            Indices (N,) into what `flat` gives, and what `seen` gives for them, (N, n).
        """
        if model.core is None and model.eyes is None:
            seen = self.seen(model)
            for rows in self._shuffled(len(seen), size, generator, ranks):
                yield rows, seen[rows]
        elif model.core is None:
            observed = self.flat(self.observations)
            for rows in self._shuffled(len(observed), size, generator, ranks):
                with torch.enable_grad():
                    features = model.features(observed[rows])
                yield rows, features
        else:
            steps, worlds = self.valid.shape
            for chosen in self._shuffled(worlds, max(1, size // steps), generator, ranks):
                yield self._rows(chosen), self.seen(model, chosen)

    def _shuffled(self, count: int, size: int, generator: torch.Generator, ranks: Ranks) -> Iterator[Any]:
        counts = ranks.counts(count)
        if sum(counts) <= size:
            yield slice(None)
            return
        order, begin = torch.randperm(count, generator=generator, device=self.valid.device), 0
        for parts in dealt(counts, size):
            if sum(parts) >= size // 2:  # a scrap of a minibatch would make a noisy step
                yield order[begin : begin + parts[ranks.rank]]
            begin += parts[ranks.rank]

    def seen(self, model: ActorCritic, worlds: Any = slice(None)) -> Tensor:
        """What policy and value are functions of at the valid samples of some worlds, (N, n); with a memory, as it is remembered now."""
        if model.eyes is None and (model.core is None or self.begins is None):
            return self.flat(self.features)
        with torch.enable_grad():
            if model.core is None or self.begins is None:
                return model.features(self.flat(self.observations))
            features = self.features[:, worlds] if model.eyes is None else model.features(self.observations[:, worlds])
            outputs, _ = model.core(features, tuple(part[worlds] for part in self.memory), self.begins[:, worlds])
            return outputs[self.valid[:, worlds]]

    def acted_on(self, model: ActorCritic) -> Tensor:
        """The same for all worlds, without a gradient: what the policy that acted was a function of."""
        return self.flat(self.features) if model.core is None else self.seen(model).detach()

    def _rows(self, worlds: Any) -> Tensor:
        """Where the valid samples of some worlds are in what `flat` gives."""
        place = self.valid.flatten().cumsum(0).view(self.valid.shape) - 1
        return place[:, worlds][self.valid[:, worlds]]

    def flat(self, values: Tensor) -> Tensor:
        """The valid samples of (T, W, ...), (N, ...)."""
        return values.flatten(0, 1) if self.valid.all() else values[self.valid]


@torch.no_grad()
def collect(
    agent: OnPolicyAgent, go_on: Callable[[int, Tensor], bool], choose: Callable[[Tensor, Distribution], Tensor] | None = None
) -> Rollout:
    """Act with the agent's policy, from where it stands.

    Args:
        agent: who acts; its observation and its memory move on.
        go_on: called with the number of steps taken and which episodes ended in the last one, (W,).
        choose: the action for observations (W, n) and the policy there; by default one drawn from it.
    """
    model, batch = agent.model, agent.batch
    memory, remembers = agent.memory, model.core is not None
    keeps = remembers or model.eyes is not None  # what was seen, for it cannot be had at once, or is dear
    observations, begins, seen = [agent.observation], [agent.begins], []
    columns: dict[str, list[Tensor]] = {key: [] for key in ("action", "reward", "terminated", "truncated", "valid")}
    unseen: list[tuple[int, Any, Tensor]] = []  # values of what truncated episodes saw last, where the next row is not it
    steps, ended = 0, torch.zeros(batch.num_worlds, dtype=torch.bool)
    while go_on(steps, ended):
        features, memory = model.see(agent.observation, memory, begins[-1])
        policy = model.policy(features)
        action = policy.sample(agent.generator) if choose is None else choose(agent.observation, policy)
        step = batch.step(agent._to_environment(action))
        if step.final_observation is not None:
            # which episodes were truncated is known without waiting on a CPU only; a GPU values all and chooses
            which = step.truncated.nonzero().squeeze(-1) if agent.device.type == "cpu" else ...
            last, _ = model.see(step.final_observation[which], tuple(part[which] for part in memory))
            unseen.append((steps, which, model.value(last)))
        for key, value in zip(columns, (action, step.reward, step.terminated, step.truncated, step.valid), strict=True):
            columns[key].append(value)
        if step.info:
            agent.statistics.add_info(step)
        agent.observation = step.observation
        observations.append(step.observation)
        if remembers:
            begins.append(step.begins)
        if keeps:
            seen.append(features)
        steps, ended = steps + 1, step.terminated | step.truncated
    stacked = {key: torch.stack(values) for key, values in columns.items()}
    observed = torch.stack(observations)
    inputs = torch.stack((*seen, model.see(agent.observation, memory, begins[-1])[0])) if keeps else model.features(observed)
    # what goes into a memory is worked out anew, from the observations where eyes learn (`Rollout.seen`)
    features = model.features(observed) if remembers and model.eyes is None else inputs
    value = model.value(inputs.flatten(0, 1)).view(inputs.shape[:2])
    next_value = value[1:].clone()
    for t, which, last in unseen:
        next_value[t, which] = torch.where(stacked["truncated"][t, which], last, next_value[t, which])
    before = agent.memory
    agent.memory, agent.begins = memory, begins[-1]
    return Rollout(
        features=features[:-1], value=value[:-1], next_value=next_value, observations=observed[:-1],
        begins=torch.stack(begins[:-1]) if remembers else None, memory=before, **stacked,
    )  # fmt: skip
