"""What disturbs a character besides its own physics: commands that arrive late, and pushes at random moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mprl.errors import SettingError, named, number

LONGEST_LATENCY = 0.5


def range_of(name: str, value: Any, least: float, most: float, unit: str) -> tuple[float, float]:
    """A number as a range of itself alone, or a range (low, high).

    Raises:
        SettingError: neither, or beyond `least` and `most`.
    """
    bounds = list(value) if isinstance(value, list | tuple) else [value]
    low, high = (number(name, bound) for bound in (bounds * 2 if len(bounds) == 1 else bounds)) if len(bounds) in (1, 2) else (1.0, 0.0)
    if not least <= low <= high <= most:
        raise SettingError(f"{name} must be a number or a rising pair, of {least:g} to {most:g} {unit}, found {str(value)[:60]}")
    return low, high


class Latency:
    """PD targets that reach the actuators late, in each world by a time of its own.

    Between two control steps the delayed target is interpolated, so that one that moves evenly is late by exactly the latency. What
    was asked for before an episode's first step is taken to be what is asked for in it.

    Args:
        seconds: (low, high) of the worlds' latencies, which are uniform.
        control_step: s.
        like: targets, (W, nu).

    Attributes:
        steps: the latency of each world in control steps, (W,).
        past: the last targets, the newest first, (W, H, nu).
    """

    def __init__(self, seconds: tuple[float, float], control_step: float, like: Tensor) -> None:
        self._low, self._high = (bound / control_step for bound in seconds)
        self.steps = torch.full_like(like[:, 0], self._low)
        self.past = torch.zeros_like(like).unsqueeze(1).repeat(1, math.ceil(self._high) + 1, 1)

    def draw(self, random: torch.Generator) -> None:
        """New latencies for all worlds."""
        uniform = torch.rand(self.steps.shape, generator=random, device=self.steps.device)
        self.steps.copy_(self._low + (self._high - self._low) * uniform)

    def delay(self, target: Tensor, first: Tensor) -> Tensor:
        """What the actuators are told while `target` (W, nu) is asked for.

        Args:
            target: asked for.
            first: where it is the first of an episode, (W,) bool.
        """
        self.past[:, 1:] = self.past[:, :-1].clone()
        self.past[:, 0] = target
        self.past.copy_(torch.where(first[:, None, None], target.unsqueeze(1), self.past))
        whole = self.steps.floor()
        rows, newer = torch.arange(len(target), device=target.device), whole.long()
        older = (newer + 1).clamp(max=self.past.shape[1] - 1)
        return torch.lerp(self.past[rows, newer], self.past[rows, older], (self.steps - whole).unsqueeze(1))

    def state(self) -> dict[str, Tensor]:
        """Live tensors."""
        return {"steps": self.steps, "past": self.past}


@dataclass(frozen=True)
class Pushing:
    """Settings of random pushes: ranges from which each push is drawn uniformly."""

    force: tuple[float, float] = (0.0, 200.0)
    """Horizontal, on the root, in any direction, N."""
    seconds: tuple[float, float] = (0.2, 0.2)
    """How long it lasts."""
    every: tuple[float, float] = (1.0, 3.0)
    """Time from an episode's beginning, and from one push's beginning, to the next, s."""


_LIMITS = {"force": (0.0, 1e5, "N"), "seconds": (0.001, 60.0, "s"), "every": (0.001, 3600.0, "s")}


def pushing_of(wanted: Any) -> Pushing | None:
    """The settings that the argument `pushes` asks for: True for the defaults, or {name: (low, high)}; None without it.

    Raises:
        SettingError, UnknownNameError: a name or a value that cannot be: a negative force, say.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True:
        return Pushing()
    wanted = named("pushes", wanted, _LIMITS, "setting of pushes", "{'force': (0, 100)}")
    return Pushing(**{name: range_of(f"pushes: {name}", value, *_LIMITS[name]) for name, value in wanted.items()})


class Pushes:
    """Pushes at random moments, in each world its own.

    Args:
        settings: how strong, how long, how often.
        num_worlds: W.
        control_step: s; pushes begin and end with one.
        device: of the tensors.

    Attributes:
        wait: control steps until the next push begins, (W,). left: that the present one still lasts, (W,).
        force: of the last push, (W, 3) N.
    """

    def __init__(self, settings: Pushing, num_worlds: int, control_step: float, device: torch.device) -> None:
        s = settings
        ranges = torch.tensor([s.force, (0.0, 2 * math.pi), s.seconds, s.every], device=device)
        self._low, self._high = (ranges / ranges.new_tensor([1.0, 1.0, control_step, control_step]).unsqueeze(1)).unbind(1)
        self.wait, self.left = torch.zeros(2, num_worlds, device=device).unbind(0)
        self.force = torch.zeros(num_worlds, 3, device=device)

    def _draw(self, random: torch.Generator) -> tuple[Tensor, ...]:
        uniform = torch.rand(len(self.wait), 4, generator=random, device=self.wait.device)
        return torch.lerp(self._low.expand_as(uniform), self._high.expand_as(uniform), uniform).unbind(1)

    def reset(self, mask: Tensor, random: torch.Generator) -> None:
        """Begin to wait anew in the masked worlds, unpushed; numbers are drawn for all, so that none depends on another."""
        *_, every = self._draw(random)
        self.wait.copy_(torch.where(mask, every.round(), self.wait))
        self.left.masked_fill_(mask, 0.0)

    def advance(self, random: torch.Generator) -> Tensor:
        """The force on each root during the control step that begins, (W, 3) N in the world's frame."""
        force, angle, seconds, every = self._draw(random)
        begins = self.wait < 0.5
        pushed = force.unsqueeze(1) * torch.stack((angle.cos(), angle.sin(), torch.zeros_like(angle)), dim=1)
        self.force.copy_(torch.where(begins.unsqueeze(1), pushed, self.force))
        self.left.copy_(torch.where(begins, seconds.round().clamp(min=1.0), self.left))
        self.wait.copy_(torch.where(begins, every.round().clamp(min=1.0), self.wait) - 1)
        now = self.force * (self.left > 0.5).unsqueeze(1)
        self.left.sub_(1.0).clamp_(min=0.0)
        return now

    def state(self) -> dict[str, Tensor]:
        """Live tensors."""
        return {"wait": self.wait, "left": self.left, "force": self.force}
