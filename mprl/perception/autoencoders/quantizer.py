"""Vector quantisation: the nearest of K codes instead of a vector (van den Oord et al. 2017, arXiv 1711.00937).

The codebook follows the means of the vectors that it stands for, as exponential moving averages (the paper's appendix A.1); this is its
loss's minimum, without a step size. A code that next to nothing is nearest to is put onto one of the vectors at hand.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of how often each code is used, counts (K,): K if all are alike, 1 if it is always the same."""
    share = counts / counts.sum().clamp(min=1e-12)
    return torch.exp(torch.special.entr(share).sum())


class Quantizer(nn.Module):
    """K codes of n numbers each.

    Args:
        codes: K.
        size: n.
        decay: share of the averages that is kept in an update.
        revive: a code is dead if its average count is below this share of what it would be were all used alike.

    Raises:
        SettingError: a setting that cannot be.
    """

    codebook: Tensor  # (K, n)
    counts: Tensor  # (K,), average uses in an update; 0 before the first one
    sums: Tensor  # (K, n), average sums of the vectors

    def __init__(self, codes: int, size: int, decay: float = 0.97, revive: float = 0.1) -> None:
        super().__init__()
        if codes < 2 or not 0 <= decay < 1 or not 0 <= revive < 1:
            raise SettingError(
                f"a codebook needs at least 2 codes, a decay and a revival threshold in [0, 1), found {codes}, {decay:g}, {revive:g}"
            )
        self.decay, self.revive = decay, revive
        self.register_buffer("codebook", torch.randn(codes, size) / size**0.5)
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, size))

    def nearest(self, vectors: Tensor) -> Tensor:
        """Index of the nearest code, (N,) of (N, n)."""
        scores = vectors @ self.codebook.T  # ‖v − e‖² = ‖v‖² − 2 v·e + ‖e‖², of which the first is the same for all codes
        return (0.5 * self.codebook.square().sum(1) - scores).argmin(1)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest codes (N, n), whose gradient is that of the vectors (straight through), and their indices (N,)."""
        with torch.no_grad():
            indices = self.nearest(vectors)
        return self.codebook[indices] + (vectors - vectors.detach()), indices  # the codes to the last bit

    @torch.no_grad()
    def begin(self, vectors: Tensor, generator: torch.Generator | None = None) -> None:
        """Put all codes onto vectors at hand, as k-means begins: codes far from all vectors would be dead from the start."""
        self.codebook.copy_(_drawn(vectors, len(self.codebook), generator))
        self.counts.fill_(len(vectors) / len(self.codebook))
        self.sums.copy_(self.codebook * self.counts.unsqueeze(1))

    @torch.no_grad()
    def update(self, vectors: Tensor, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Move the codes towards the means of their vectors, and revive the dead.

        Args:
            vectors: (N, n).
            indices: of their codes, (N,).
            generator: chooses the vectors that dead codes are put onto.

        Returns:
            How many were revived.
        """
        chosen = functional.one_hot(indices, len(self.codebook)).to(vectors)
        self.counts.lerp_(chosen.sum(0), 1 - self.decay)
        self.sums.lerp_(chosen.T @ vectors, 1 - self.decay)
        self.codebook.copy_(self.sums / self.counts.clamp(min=1e-6).unsqueeze(1))
        alike = len(vectors) / len(self.codebook)
        dead = self.counts < self.revive * alike
        fresh = _drawn(vectors, len(self.codebook), generator)  # of all, so that as many numbers are drawn whoever is dead
        self.codebook.copy_(torch.where(dead.unsqueeze(1), fresh, self.codebook))
        self.counts.masked_fill_(dead, alike)
        self.sums.copy_(torch.where(dead.unsqueeze(1), fresh * alike, self.sums))
        return dead.sum()


def _drawn(vectors: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """So many of the vectors at random."""
    return vectors[torch.randint(len(vectors), (count,), generator=generator, device=vectors.device)]
