"""Keypoints as the networks see them: through a camera that looks straight at the person, in units of the person's size.

A person beside the picture's middle is seen from another side than one in it. So the camera is turned in thought, sideways and then up or
down, until it looks at the middle of the keypoints: what the networks are told does not depend on where in the picture somebody stands,
and what they say is turned back. The vertical stays vertical.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mprl.motion.fitting.cameras import LEVEL
from mprl.perception.pose2d import layouts

# all points that any layout has; what a detector does not give is not seen
POINTS = tuple(dict.fromkeys(name for names in layouts.LAYOUTS.values() for name in names))
INPUTS = 3 * len(POINTS) + 1
SIZE = 0.2  # about the usual size of a person in a picture, as a tangent


class View(NamedTuple):
    """What was seen in each of B pictures.

    Attributes:
        seen: right and down of the middle, in units of `size`, (B, K, 2). confidence: (B, K).
        size: root mean square distance of the keypoints from the middle, as a tangent, (B,).
        turn: from the turned camera's frame, in our axes (x ahead, y left, z up), to the camera's (x right, y down, z ahead), (B, 3, 3).
    """

    seen: Tensor
    confidence: Tensor
    size: Tensor
    turn: Tensor

    def inputs(self) -> Tensor:
        """What the networks read, (B, `INPUTS`)."""
        told = torch.cat((self.seen * self.confidence.unsqueeze(-1), self.confidence.unsqueeze(-1)), dim=-1)
        return torch.cat((told.flatten(1), (self.size / SIZE).log().unsqueeze(-1)), dim=-1)


def arrange(positions: Tensor, confidence: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Keypoints of these names, (B, K, 2) and (B, K), as those of `POINTS`; others are left out."""
    which = [index for index, name in enumerate(names) if name in POINTS]
    at = [POINTS.index(names[index]) for index in which]
    everything = positions.new_zeros(len(positions), len(POINTS), 2)
    known = confidence.new_zeros(len(positions), len(POINTS))
    everything[:, at], known[:, at] = positions[:, which], confidence[:, which]
    return everything, known


def look_at(pixels: Tensor, confidence: Tensor, focal: Tensor | float, centre: Tensor) -> View:
    """Turn the camera to the person.

    Args:
        pixels: (B, K, 2). confidence: (B, K); each picture must show two keypoints or more.
        focal: px. centre: of the picture, (2,) px.
    """
    flat = (pixels - centre) / focal
    rays = torch.cat((flat, torch.ones_like(flat[..., :1])), dim=-1)
    weight = confidence / confidence.sum(dim=1, keepdim=True).clamp(min=1e-6)
    ahead = (weight.unsqueeze(-1) * torch.nn.functional.normalize(rays, dim=-1)).sum(dim=1)
    ahead = torch.nn.functional.normalize(ahead, dim=-1)
    right = torch.nn.functional.normalize(torch.stack((ahead[:, 2], 0 * ahead[:, 0], -ahead[:, 0]), dim=-1), dim=-1)
    axes = torch.stack((right, torch.linalg.cross(ahead, right), ahead), dim=1)  # rows: right, down, ahead
    seen = rays @ axes.transpose(1, 2)
    there = confidence > 0
    level = seen[..., :2] / seen[..., 2:].clamp(min=0.05)
    size = (weight * level.square().sum(dim=-1)).sum(dim=1).sqrt().clamp(min=1e-4)
    units = torch.where(there.unsqueeze(-1), level / size[:, None, None], torch.zeros_like(level))
    turn = axes.transpose(1, 2) @ torch.tensor(LEVEL).to(pixels)
    return View(units, confidence, size, turn)
