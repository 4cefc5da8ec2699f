"""What an agent sees of its observations: a perception model's features in place of the part that the model reads."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from mprl.agents import spaces
from mprl.perception.plug import Perception
from mprl.perception.selfsupervised.augmentation import random_shift


class Eyes(nn.Module):
    """From flat observations (..., n) to the numbers of all other parts, then the features of what the model reads, (..., m).

    Agents keep observations flat and in float32, in which bytes are exact; the model gets its part back in its own shape.

    Args:
        perception: the model.
        space: of one world's observations.

    Attributes:
        rest: how many numbers the other parts have.
        size: m.
        frozen: nothing is learned here: what an agent keeps and learns from are features.

    Raises:
        PerceptionError: the space has not what the model reads.
    """

    def __init__(self, perception: Perception, space: gym.Space[Any]) -> None:
        super().__init__()
        perception.spec.check(space)
        self.perception = perception
        begin = 0
        if perception.spec.key is not None:
            assert isinstance(space, gym.spaces.Dict)
            for key, part in space.spaces.items():
                if key == perception.spec.key:
                    break
                begin += spaces.size(part)
        self._read = slice(begin, begin + math.prod(perception.spec.shape))
        self.rest = spaces.size(space) - math.prod(perception.spec.shape)
        self.size = self.rest + perception.features
        self.frozen = perception.spec.frozen

    def others(self, flat: Tensor) -> Tensor:
        """The numbers of all other parts, (..., rest)."""
        return torch.cat((flat[..., : self._read.start], flat[..., self._read.stop :]), dim=-1)

    def features(self, flat: Tensor) -> Tensor:
        """What the model makes of its part, (..., features)."""
        rows = flat[..., self._read].reshape(-1, *self.perception.spec.shape)
        return self.perception.perceive(rows).unflatten(0, flat.shape[:-1])

    def forward(self, flat: Tensor) -> Tensor:
        return torch.cat((self.others(flat), self.features(flat)), dim=-1) if self.rest else self.features(flat)

    def shifted(self, flat: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
        """Observations (B, n) whose pictures are each moved by up to so many pixels; what comes in at the edges repeats them."""
        pictures = flat[:, self._read].view(-1, *self.perception.spec.shape).permute(0, 3, 1, 2)
        moved = random_shift(pictures, pixels, generator).permute(0, 2, 3, 1)
        flat = flat.clone()
        flat[:, self._read] = moved.flatten(1)
        return flat
