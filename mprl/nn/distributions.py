"""Action distributions of stochastic policies, as plain functions of their parameters.

`torch.distributions` checks and re-derives too much for a loop that runs thousands of times a second.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class DiagonalGaussian:
    """Independent normals. mean: (..., n); log_std: (n,) or (..., n)."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean, self.log_std = mean, log_std

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, (..., n)."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        """The likeliest action, (..., n)."""
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        """Log density, (...)."""
        standard = (action - self.mean) * torch.exp(-self.log_std)
        constant = self.log_std + 0.5 * math.log(2 * math.pi)
        return -0.5 * standard.square().sum(dim=-1) - constant.expand_as(standard).sum(dim=-1)

    def entropy(self) -> Tensor:
        """In nats, (...)."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).expand_as(self.mean).sum(dim=-1)

    def kl(self, other: DiagonalGaussian) -> Tensor:
        """KL(self || other), (...)."""
        variance_ratio = (2 * (self.log_std - other.log_std)).exp()
        shift = ((self.mean - other.mean) * torch.exp(-other.log_std)).square()
        return (0.5 * (variance_ratio + shift - 1) + other.log_std - self.log_std).sum(dim=-1)


class Categorical:
    """One of n actions. logits: (..., n)."""

    def __init__(self, logits: Tensor) -> None:
        self.log_probabilities = logits.log_softmax(dim=-1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, (...) int64."""
        probabilities = self.log_probabilities.exp()
        drawn = torch.multinomial(probabilities.flatten(0, -2), 1, generator=generator)
        return drawn.view(probabilities.shape[:-1])

    def mode(self) -> Tensor:
        """The likeliest action, (...) int64."""
        return self.log_probabilities.argmax(dim=-1)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log probability, (...)."""
        return self.log_probabilities.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """In nats, (...)."""
        return -(self.log_probabilities.exp() * self.log_probabilities).sum(dim=-1)

    def kl(self, other: Categorical) -> Tensor:
        """KL(self || other), (...)."""
        return (self.log_probabilities.exp() * (self.log_probabilities - other.log_probabilities)).sum(dim=-1)
