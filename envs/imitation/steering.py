"""A reference that turns, and changes its pace, at a bounded rate: what a character with a commanded course is to imitate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mprl.motion import Reference
from mprl.motion import rotations as rot


class Steering:
    """Yaw and tempo of the reference in every world.

    The clip is turned about its own root, so that it does not jump, and played faster or slower, so that its root covers ground
    at another speed with the same steps.

    Args:
        num_worlds: how many.
        control_step: s.
        turning_rate: greatest change of the yaw, rad/s. tempo_rate: greatest change of the tempo, 1/s.
        device: of the tensors.
    """

    def __init__(self, num_worlds: int, control_step: float, turning_rate: float, tempo_rate: float, device: torch.device) -> None:
        self.control_step, self.turning_rate, self.tempo_rate = control_step, turning_rate, tempo_rate
        self.turn, self.turning = torch.zeros(num_worlds, device=device), torch.zeros(num_worlds, device=device)  # rad, rad/s
        self.tempo = torch.ones(num_worlds, device=device)
        self.place = torch.zeros(num_worlds, 3, device=device)  # where turning about its root has taken the clip's origin, m
        self.wanted_turn, self.wanted_tempo = torch.zeros_like(self.turn), torch.ones_like(self.tempo)

    def reset(self, mask: Tensor) -> None:
        """The masked worlds' reference as the clip has it."""
        for value, start in ((self.turn, 0.0), (self.turning, 0.0), (self.tempo, 1.0)):
            value.masked_fill_(mask, start)
        self.place.masked_fill_(mask.unsqueeze(-1), 0.0)

    def advance(self) -> Tensor:
        """One control step towards what is wanted; by how much the clip's time runs ahead of the step, (W,) s."""
        self.turning.copy_(self._change(1) / self.control_step)
        self.turn += self._change(1)
        self.tempo += (self.wanted_tempo - self.tempo).clamp(-self.tempo_rate * self.control_step, self.tempo_rate * self.control_step)
        return (self.tempo - 1.0) * self.control_step

    def _change(self, steps: Tensor | int) -> Tensor:
        """Yaw to be turned within so many control steps, (W,) or (W, K) rad: the shorter way, at most at the turning rate."""
        gap = self.wanted_turn - self.turn
        gap = torch.remainder(gap + math.pi, 2 * math.pi) - math.pi
        reach = self.turning_rate * self.control_step * steps
        if isinstance(reach, Tensor):
            return torch.minimum(torch.maximum(gap.unsqueeze(-1), -reach), reach)
        return gap.clamp(-reach, reach)

    def turn_about(self, root_position: Tensor) -> None:
        """Let the last step's turn have been about the clip's root, which is now at (W, 3) m in the clip."""
        before = self.turn - self.turning * self.control_step
        self.place += _turned(root_position, before) - _turned(root_position, self.turn)

    def reference(self, reference: Reference) -> Reference:
        """The clip's motion as it is to be imitated."""
        return reference.steered(self.turn, self.turning, self.tempo).moved(self.place)

    def coming(
        self, position: Tensor, rotation: Tensor, control: Tensor, feedforward: Tensor, steps: Tensor, worlds: slice | Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same of root places (W, K, 3), root rotations (W, K, 4) and PD targets (W, K, nu) that are `steps` (K,) ahead.

        Rotations turn on towards what is wanted. Positions lie on the present course: within the few steps that are shown they
        differ by a centimetre.
        """
        yaw = rot.about_vertical((self.turn.unsqueeze(-1) + self._change(steps))[worlds])
        pace = self.tempo[worlds, None, None]
        position = _turned(position, self.turn[worlds]) + self.place[worlds].unsqueeze(1)
        return position, rot.multiply(yaw, rotation), control, control + (feedforward - control) * pace

    def state(self) -> dict[str, Tensor]:
        """Tensors that the future depends on."""
        return {name: getattr(self, name) for name in ("turn", "turning", "tempo", "place", "wanted_turn", "wanted_tempo")}


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """Points (W, 3) or (W, K, 3) turned about the vertical axis by (W,) rad."""
    cos, sin = angle.cos(), angle.sin()
    if points.ndim == 3:
        cos, sin = cos.unsqueeze(-1), sin.unsqueeze(-1)
    x, y, z = points.unbind(-1)
    return torch.stack((cos * x - sin * y, sin * x + cos * y, z), dim=-1)
