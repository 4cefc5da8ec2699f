"""Running mean and variance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mprl.ranks import ALONE, Ranks


class RunningNormalizer(nn.Module):
    """Standardises values by the mean and variance of all that `update` has seen; part of the weights, never of the gradient.

    Args:
        shape: of one value.
        clip: greatest magnitude of a standardised value.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...], clip: float = 10.0) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @property
    def std(self) -> Tensor:
        """Standard deviation, kept away from 0."""
        return (self.variance + 1e-8).sqrt()

    @torch.no_grad()
    def update(self, values: Tensor, ranks: Ranks = ALONE) -> None:
        """Merge a batch (N, *shape), and those of the other ranks, into the statistics (Chan et al. 1983)."""
        if not values.numel() and ranks.size == 1:
            self.count += len(values)
            return
        number, mean, variance = ranks.moments(values)
        total = self.count + number
        share = (number / total).to(values.dtype)
        delta = mean - self.mean
        self.variance += share * (variance - self.variance) + share * (1 - share) * delta.square()
        self.mean += share * delta
        self.count.copy_(total)

    def forward(self, values: Tensor) -> Tensor:
        return ((values - self.mean) / self.std).clamp(-self.clip, self.clip)
