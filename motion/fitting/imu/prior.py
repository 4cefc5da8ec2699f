"""Which poses are likely: a Gaussian over SMPL's joint angles, learned from our clips."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from mprl import files

# SMPL's 23 joints as rotation vectors in its own frame, (B, 69) rad -> minus the logarithm of how likely, up to a constant, (B,)
Prior = Callable[[Tensor], Tensor]
FILE = Path(__file__).with_name("weights") / "prior.safetensors"


class Gaussian:
    """Half the squared Mahalanobis distance from the mean (Loper et al.'s SMPLify uses a mixture of these).

    Args:
        mean: (69,) rad. covariance: (69, 69) rad².
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean = mean
        self.deviation = covariance.diagonal().sqrt()
        self._whiten = torch.linalg.inv(torch.linalg.cholesky(covariance.double())).to(mean).T.contiguous()

    def __call__(self, pose: Tensor) -> Tensor:
        return 0.5 * ((pose - self.mean) @ self._whiten).square().sum(dim=-1)


@lru_cache(maxsize=1)
def shipped() -> Gaussian:
    """The one that comes with the package."""
    tensors = files.read_tensors(FILE)
    return Gaussian(tensors["mean"], tensors["covariance"])
