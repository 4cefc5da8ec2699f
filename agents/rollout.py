"""What a policy saw and did in W worlds, gathered for learning from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mprl.agents.on_policy import OnPolicyAgent


@dataclass
class Rollout:
    """T steps in W worlds; features are what the networks saw, standardised observations."""

    features: Tensor  # (T, W, n)
    action: Tensor  # (T, W, a) or (T, W)
    reward: Tensor  # (T, W), and so on
    terminated: Tensor
    truncated: Tensor
    valid: Tensor  # False where a step only reset its world
    value: Tensor
    next_value: Tensor  # of what the step led to: of an episode's last observation, never of another's first
    observations: Tensor  # (T, W, n), as they came

    def minibatches(self, size: int, generator: torch.Generator) -> Iterator[Any]:
        """All valid samples in random order, as indices (up to `size`,) into what `flat` gives; a last scrap is left out."""
        count = int(self.valid.sum())
        if count <= size:
            yield slice(None)
            return
        for rows in torch.randperm(count, generator=generator, device=self.valid.device).split(size):
            if len(rows) >= size // 2:  # a scrap of a minibatch would make a noisy step
                yield rows

    def flat(self, values: Tensor) -> Tensor:
        """The valid samples of (T, W, ...), (N, ...)."""
        return values.flatten(0, 1) if self.valid.all() else values[self.valid]


@torch.no_grad()
def collect(agent: OnPolicyAgent, go_on: Callable[[int, Tensor], bool]) -> Rollout:
    """Act with the agent's policy, from where it stands.

    Args:
        agent: who acts; its observation moves on and its statistics are told.
        go_on: called with the number of steps taken and which episodes ended in the last one, (W,).
    """
    model, batch = agent.model, agent.batch
    observations = [agent.observation]
    columns: dict[str, list[Tensor]] = {key: [] for key in ("action", "reward", "terminated", "truncated", "valid")}
    unseen: list[tuple[int, Any, Tensor]] = []  # values of what truncated episodes saw last, where the next row is not it
    steps, ended = 0, torch.zeros(batch.num_worlds, dtype=torch.bool)
    while go_on(steps, ended):
        action = model.policy(model.features(agent.observation)).sample(agent.generator)
        step = batch.step(agent._to_environment(action))
        if step.final_observation is not None:
            # which episodes were truncated is known without waiting on a CPU only; a GPU values all and chooses
            which = step.truncated.nonzero().squeeze(-1) if agent.device.type == "cpu" else ...
            unseen.append((steps, which, model.value(model.features(step.final_observation[which]))))
        for key, value in zip(columns, (action, step.reward, step.terminated, step.truncated, step.valid), strict=True):
            columns[key].append(value)
        if step.info:
            agent.statistics.add_info(step)
        agent.observation = step.observation
        observations.append(step.observation)
        steps, ended = steps + 1, step.terminated | step.truncated
    stacked = {key: torch.stack(values) for key, values in columns.items()}
    seen = torch.stack(observations)
    features = model.features(seen)
    value = model.value(features.flatten(0, 1)).view(features.shape[:2])
    next_value = value[1:].clone()
    for t, which, last in unseen:
        next_value[t, which] = torch.where(stacked["truncated"][t, which], last, next_value[t, which])
    return Rollout(features=features[:-1], value=value[:-1], next_value=next_value, observations=seen[:-1], **stacked)
