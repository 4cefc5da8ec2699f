"""A mixture of Gaussians over poses, as SMPLify's prior (Bogo et al. 2016, eq. 5), fitted by expectation maximisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Mixture:
    """−log Σ_k w_k N(θ; μ_k, Σ_k) of poses.

    Args:
        log_weights: (M,). means: (M, D) rad.
        factors: lower triangular L_k with Σ_k⁻¹ = L_k L_kᵀ, (M, D, D).
    """

    def __init__(self, log_weights: Tensor, means: Tensor, factors: Tensor) -> None:
        self.log_weights, self.means, self.factors = log_weights, means, factors
        self._log_scale = log_weights + factors.diagonal(dim1=1, dim2=2).log().sum(dim=1) - 0.5 * means.shape[1] * math.log(2 * math.pi)
        self._flat = factors.permute(1, 0, 2).flatten(1).contiguous()
        self._shift = torch.einsum("md,mde->me", means, factors)

    def __call__(self, pose: Tensor) -> Tensor:
        """(B, J, 3) rad -> (B,) nats."""
        return -self.log_probabilities(pose.flatten(1)).logsumexp(dim=1)

    def log_probabilities(self, flat: Tensor) -> Tensor:
        """log w_k N(θ; μ_k, Σ_k), (B, M), of (B, D)."""
        white = (flat @ self._flat).unflatten(1, self._shift.shape) - self._shift
        return self._log_scale - 0.5 * white.square().sum(dim=-1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Poses, (count, D) rad."""
        which = torch.multinomial(self.log_weights.exp(), count, replacement=True, generator=generator)
        white = torch.randn(count, self.means.shape[1], 1, generator=generator)
        return self.means[which] + torch.linalg.solve_triangular(self.factors.transpose(1, 2)[which], white, upper=True).squeeze(-1)


def fit(poses: Tensor, components: int, floor: float, generator: torch.Generator, rounds: int = 12) -> Mixture:
    """Expectation maximisation.

    Args:
        poses: (N, D) rad.
        components: M.
        floor: added to every standard deviation's square, rad².
        generator: chooses the first means.
        rounds: of both steps.
    """
    count, size = poses.shape
    means = poses[_spread(poses, components, generator)].clone()
    share = torch.nn.functional.one_hot(torch.cdist(poses, means).argmin(dim=1), components).to(poses)
    eye = torch.eye(size, dtype=poses.dtype)
    for _ in range(rounds):
        total = share.sum(dim=0) + 1e-6
        means = (share.T @ poses) / total[:, None]
        spread = torch.stack([((poses - mean) * weight[:, None]).T @ (poses - mean) for mean, weight in zip(means, share.T, strict=True)])
        covariance = spread / total[:, None, None] + floor * eye
        factors = torch.linalg.cholesky(torch.linalg.inv(covariance))  # lower: Σ⁻¹ = L Lᵀ
        mixture = Mixture((total / count).log(), means, factors)
        share = mixture.log_probabilities(poses).softmax(dim=1)
    return mixture


def _spread(poses: Tensor, components: int, generator: torch.Generator) -> list[int]:
    """First means far from each other (k-means++)."""
    chosen = [int(torch.randint(len(poses), (1,), generator=generator))]
    nearest = torch.full((len(poses),), torch.inf, dtype=poses.dtype)
    for _ in range(components - 1):
        nearest = torch.minimum(nearest, (poses - poses[chosen[-1]]).square().sum(dim=1))
        chosen.append(int(torch.multinomial(nearest, 1, generator=generator)))
    return chosen
