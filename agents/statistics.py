"""How episodes go while an agent acts, gathered without waiting for the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mprl.agents.environments import Step


class EpisodeStatistics:
    """Mean return and length of the episodes that end, and means of every number the environment reports.

    Args:
        num_worlds: W.
        device: of the steps.
    """

    def __init__(self, num_worlds: int, device: torch.device) -> None:
        self._return = torch.zeros(num_worlds, device=device)
        self._length = torch.zeros(num_worlds, device=device)
        self._last = {"return": math.nan, "episode_length": math.nan}
        self._clear()

    def _clear(self) -> None:
        self._ended = self._return.new_zeros(3)  # episodes, their returns, their lengths
        self._info: dict[str, Tensor] = {}
        self._rewards = self._return.new_zeros(())
        self._steps = 0

    def add(self, step: Step) -> None:
        """Count one step of all worlds."""
        self._return += step.reward
        self._length += step.valid
        ended = (step.terminated | step.truncated).float()
        self._ended += torch.stack((ended.sum(), (ended * self._return).sum(), (ended * self._length).sum()))
        self._return *= 1 - ended
        self._length *= 1 - ended
        self._rewards += step.reward.mean()
        for key, value in step.info.items():
            mean = value.float().mean()
            self._info[key] = self._info[key] + mean if key in self._info else mean
        self._steps += 1

    def take(self) -> dict[str, float]:
        """Metrics since the last call: `return`, `episode_length` (the previous ones where no episode ended), `reward`, `env_…`."""
        episodes, returns, lengths = self._ended.tolist()
        if episodes:
            self._last = {"return": returns / episodes, "episode_length": lengths / episodes}
        steps = max(self._steps, 1)
        metrics = {**self._last, "episodes": episodes, "reward": float(self._rewards) / steps}
        if self._info:
            names, values = zip(*self._info.items(), strict=True)
            metrics |= dict(zip((f"env_{n}" for n in names), (torch.stack(values) / steps).tolist(), strict=True))
        self._clear()
        return metrics
