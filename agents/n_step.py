"""Transitions of several steps: what n steps earned, and what they led to (Sutton & Barto, chapter 7)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mprl.agents.replay import Transitions


class Steps(NamedTuple):
    """T steps in W worlds, all (T, W, ...).

    Attributes:
        observation, action: what was seen and done.
        reward, terminated, truncated: what came of it.
        valid: False where the step only reset a world.
        next_observation: what the step led to; at an episode's end its last observation.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor
    next_observation: Tensor


class NStep:
    """Makes n-step transitions of steps: R = Σₖ γᵏ rₖ over n steps, followed by γⁿ times a value of what the last one led to.

    At an episode's end they are of fewer steps: a terminated episode is followed by nothing, a truncated one by the value of what was
    seen last. The last n - 1 steps wait for those to come.

    Args:
        n: steps of a transition.
        gamma: γ.
    """

    def __init__(self, n: int, gamma: float) -> None:
        self.n, self.gamma = n, gamma
        self._waiting: Steps | None = None

    def add(self, steps: Steps) -> Transitions:
        """The transitions that are complete now; N of them, those that began earlier first."""
        if self.n == 1:
            return _flat(steps, steps.valid, steps.reward, self.gamma * ~steps.terminated, steps.next_observation)
        if self._waiting is not None:
            steps = Steps(*(torch.cat(both) for both in zip(self._waiting, steps, strict=True)))
        transitions, complete = self._windows(steps)
        rest = Steps(*(field[1 - self.n :].clone() for field in steps))
        self._waiting = rest._replace(valid=rest.valid & ~complete[1 - self.n :])  # each is the beginning of one transition only
        return transitions

    def cut(self) -> Transitions | None:
        """The transitions of the steps that wait: their episodes will not go on. None where nothing waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return None
        waiting.truncated[-1] = True
        return self._windows(waiting)[0]

    def _windows(self, steps: Steps) -> tuple[Transitions, Tensor]:
        """The transitions that are complete, and where they begin, (T, W)."""
        ended = steps.terminated | steps.truncated
        count = len(ended)
        reward, open_ = steps.reward.clone(), ~ended
        last = torch.arange(count, device=ended.device).unsqueeze(-1).repeat(1, ended.shape[1])  # the step each ends with
        for k in range(1, min(self.n, count)):
            goes_on = open_[:-k].clone()
            reward[:-k] += self.gamma**k * goes_on * steps.reward[k:]
            last[:-k] += goes_on
            open_[:-k] &= ~ended[k:]
        long_enough = torch.arange(count, device=ended.device).unsqueeze(-1) <= count - self.n
        complete = steps.valid & (~open_ | long_enough)
        length = last - torch.arange(count, device=ended.device).unsqueeze(-1) + 1
        discount = self.gamma**length * ~steps.terminated.gather(0, last)
        worlds = torch.arange(ended.shape[1], device=ended.device)
        return _flat(steps, complete, reward, discount, steps.next_observation[last, worlds]), complete

    def get_state(self) -> dict[str, Tensor]:
        """The steps that wait."""
        return {} if self._waiting is None else self._waiting._asdict()

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `get_state` returned."""
        self._waiting = Steps(**state) if state else None


def _flat(steps: Steps, chosen: Tensor, reward: Tensor, discount: Tensor, next_observation: Tensor) -> Transitions:
    fields = (steps.observation, steps.action, reward, discount, next_observation)
    if bool(chosen.all()):
        return Transitions(*(field.flatten(0, 1) for field in fields))
    return Transitions(*(field[chosen] for field in fields))
