"""Action distributions of stochastic policies, as plain functions of their parameters.

`torch.distributions` checks and re-derives too much for a loop that runs thousands of times a second.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


class DiagonalGaussian:
    """Independent normals. mean: (..., n); log_std: (n,) or (..., n)."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean, self.log_std = mean, log_std

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, (..., n); differentiable with respect to mean and log_std."""
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

    def slopes(self, action: Tensor, weight: Tensor, entropy_weight: float = 0.0) -> tuple[Tensor, Tensor | None]:
        """Gradient of sum(weight log_prob(action)) + entropy_weight sum(entropy()), for (N, n) and weight (N,).

        Returns:
            With respect to the network's output, (N, n), and to a log_std of shape (n,).
        """
        std = self.log_std.exp()
        standard = (action - self.mean) / std
        weight = weight.unsqueeze(-1)
        of_log_std = (weight * (standard.square() - 1)).sum(0) + entropy_weight * len(action)
        return weight * standard / std, of_log_std


class SquashedGaussian:
    """tanh of independent normals, in (-1, 1)^n (Haarnoja et al. 2018, arXiv 1801.01290, appendix C). mean, log_std: (..., n).

    It has no entropy in closed form: `-log_prob` of a sample estimates it.
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.normal = DiagonalGaussian(mean, log_std)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, (..., n)."""
        return torch.tanh(self.normal.sample(generator))

    def rsample(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """One draw, (..., n), and its log density, (...), both differentiable with respect to mean and log_std."""
        mean, log_std = self.normal.mean, self.normal.log_std
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        drawn = mean + log_std.exp() * noise
        # from the noise itself: drawn - mean would have lost its digits where the standard deviation is small
        normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        return torch.tanh(drawn), (normal - _log_slope_of_tanh(drawn)).sum(dim=-1)

    def mode(self) -> Tensor:
        """Where the likeliest value of the normal goes, (..., n)."""
        return torch.tanh(self.normal.mean)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log density, (...), of actions in [-1, 1]; the bounds themselves are taken for the closest numbers inside."""
        inside = 1 - torch.finfo(action.dtype).eps
        drawn = torch.atanh(action.clamp(-inside, inside))
        return self.normal.log_prob(drawn) - _log_slope_of_tanh(drawn).sum(dim=-1)

    def kl(self, other: SquashedGaussian) -> Tensor:
        """KL(self || other), (...): that of the normals, as tanh can be undone."""
        return self.normal.kl(other.normal)


def _log_slope_of_tanh(u: Tensor) -> Tensor:
    """log(1 - tanh²u), exact where 1 - tanh²u itself rounds to 0."""
    return 2 * (math.log(2) - u - functional.softplus(-2 * u))


class Categorical:
    """One of n actions. logits: (..., n)."""

    # Up to so many numbers a race of exponential clocks is faster on a CPU than a search in the cumulative distribution.
    _RACE = 128

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self._log_probabilities: Tensor | None = None

    @property
    def log_probabilities(self) -> Tensor:
        """Normalised, (..., n); not needed to draw, so not worked out before somebody asks."""
        found = self._log_probabilities
        if found is None or (self.logits.requires_grad and torch.is_grad_enabled() and not found.requires_grad):
            found = self._log_probabilities = self.logits.log_softmax(dim=-1)
        return found

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, (...) int64."""
        if self.logits.numel() <= self._RACE or self.logits.is_cuda:
            # clocks that ring at rate p: the first to ring is i with probability p_i; the logarithms need no normalising
            clocks = torch.empty_like(self.logits).exponential_(generator=generator)
            return (self.logits.detach() - clocks.log_()).argmax(dim=-1)
        cumulative = self.logits.detach().softmax(dim=-1).cumsum(dim=-1)
        uniform = torch.rand((*self.logits.shape[:-1], 1), generator=generator, dtype=self.logits.dtype, device=self.logits.device)
        # its last number is 1 up to rounding; so scaled, the uniform number always falls below it
        return (cumulative <= uniform * cumulative[..., -1:]).sum(dim=-1)

    def mode(self) -> Tensor:
        """The likeliest action, (...) int64."""
        return self.logits.argmax(dim=-1)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log probability, (...)."""
        return self.log_probabilities.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """In nats, (...)."""
        return -(self.log_probabilities.exp() * self.log_probabilities).sum(dim=-1)

    def kl(self, other: Categorical) -> Tensor:
        """KL(self || other), (...)."""
        return (self.log_probabilities.exp() * (self.log_probabilities - other.log_probabilities)).sum(dim=-1)

    def slopes(self, action: Tensor, weight: Tensor, entropy_weight: float = 0.0) -> tuple[Tensor, Tensor | None]:
        """As of `DiagonalGaussian`: the score is the action's one-hot code less the probabilities (Sutton & Barto, exercise 13.3)."""
        probabilities = self.log_probabilities.exp()
        weight = weight.unsqueeze(-1)
        slope = (probabilities * -weight).scatter_add_(-1, action.long().unsqueeze(-1), weight)
        if entropy_weight:
            slope -= entropy_weight * probabilities * (self.log_probabilities + self.entropy().unsqueeze(-1))
        return slope, None


class MultiCategorical:
    """Several independent choices at once, of n₁, n₂, ... actions. logits: (..., n₁ + n₂ + ...), side by side."""

    def __init__(self, logits: Tensor, nvec: tuple[int, ...]) -> None:
        self.logits, self.nvec = logits, nvec
        if len(set(nvec)) == 1:
            padded = logits.unflatten(-1, (len(nvec), nvec[0]))
        else:
            # what an export traces must not be remembered: those are no tensors with numbers
            columns, outside = (_padding.__wrapped__ if torch.compiler.is_compiling() else _padding)(nvec, logits.device)
            padded = logits[..., columns].masked_fill(outside, -1e9)  # a probability of 0 whose logarithm is finite
        self.choices = Categorical(padded)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, (..., k) int64."""
        return self.choices.sample(generator)

    def mode(self) -> Tensor:
        """The likeliest actions, (..., k) int64."""
        return self.choices.mode()

    def log_prob(self, action: Tensor) -> Tensor:
        """Log probability of all choices together, (...)."""
        return self.choices.log_prob(action).sum(dim=-1)

    def entropy(self) -> Tensor:
        """In nats, (...)."""
        return self.choices.entropy().sum(dim=-1)

    def kl(self, other: MultiCategorical) -> Tensor:
        """KL(self || other), (...)."""
        return self.choices.kl(other.choices).sum(dim=-1)

    def slopes(self, action: Tensor, weight: Tensor, entropy_weight: float = 0.0) -> tuple[Tensor, Tensor | None]:
        """As of `DiagonalGaussian`."""
        return _slopes(lambda logits: MultiCategorical(logits, self.nvec), self.logits, action, weight, entropy_weight), None


@functools.lru_cache(maxsize=16)
def _padding(nvec: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Columns of each choice's logits in a table (k, greatest n), and which of its places belong to none."""
    place = torch.arange(max(nvec), device=device)
    count = torch.tensor(nvec, device=device).unsqueeze(-1)
    outside = place >= count
    return (count.cumsum(0) - count + place).masked_fill(outside, 0), outside


class Bernoulli:
    """Independent yes or no. logits: (..., n)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw, (..., n) int64, 0 or 1."""
        uniform = torch.rand(self.logits.shape, generator=generator, dtype=self.logits.dtype, device=self.logits.device)
        return (uniform < self.logits.detach().sigmoid()).long()

    def mode(self) -> Tensor:
        """The likeliest action, (..., n) int64."""
        return (self.logits > 0).long()

    def log_prob(self, action: Tensor) -> Tensor:
        """Log probability, (...)."""
        return -functional.softplus(torch.where(action.bool(), -self.logits, self.logits)).sum(dim=-1)

    def entropy(self) -> Tensor:
        """In nats, (...)."""
        return (functional.softplus(self.logits) - self.logits * self.logits.sigmoid()).sum(dim=-1)

    def kl(self, other: Bernoulli) -> Tensor:
        """KL(self || other), (...)."""
        shift = self.logits.sigmoid() * (self.logits - other.logits)
        return (shift + functional.softplus(other.logits) - functional.softplus(self.logits)).sum(dim=-1)

    def slopes(self, action: Tensor, weight: Tensor, entropy_weight: float = 0.0) -> tuple[Tensor, Tensor | None]:
        """As of `DiagonalGaussian`."""
        return _slopes(Bernoulli, self.logits, action, weight, entropy_weight), None


def _slopes(make: Callable[[Tensor], Distribution], logits: Tensor, action: Tensor, weight: Tensor, entropy_weight: float) -> Tensor:
    """By autograd, where writing it down earns little."""
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        distribution = make(logits)
        total = (weight * distribution.log_prob(action)).sum() + entropy_weight * distribution.entropy().sum()
    return torch.autograd.grad(total, logits)[0]


Distribution = DiagonalGaussian | Categorical | MultiCategorical | Bernoulli
