"""Contrastive learning: what belongs together is to be more alike than what does not.

`ImageState` pairs pictures with the states that they show, as CLIP pairs pictures with texts (Radford et al. 2021, arXiv 2103.00020); the
state is needed for training only. `Curl` pairs two shifted versions of one picture (Laskin et al. 2020, arXiv 2004.04136) and needs none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError
from mprl.nn.mlp import mlp
from mprl.perception import models
from mprl.perception.encoders import layers
from mprl.perception.network import Batch, Metrics, Network
from mprl.perception.selfsupervised.augmentation import random_shift

_MOST = math.log(100.0)  # of the logarithm of 1 / temperature, as in CLIP


def info_nce(similarity: Tensor) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, arXiv 1807.03748): −log of the share that each pair has of its row, e^s_ii / Σ_j e^s_ij; mean.

    Args:
        similarity: of row i and column j, divided by the temperature, (B, B); pairs are on the diagonal.
    """
    return functional.cross_entropy(similarity, torch.arange(len(similarity), device=similarity.device))


def clip_loss(similarity: Tensor) -> Tensor:
    """InfoNCE both ways: the mean of that of the rows and that of the columns."""
    return 0.5 * (info_nce(similarity) + info_nce(similarity.T))


def found_share(similarity: Tensor) -> Tensor:
    """How often the own pair is the most alike of its row."""
    return (similarity.argmax(1) == torch.arange(len(similarity), device=similarity.device)).float().mean()


class ImageState(Network):
    """Pictures and their states in one space.

    Args:
        shape: of a picture.
        features: of its encoder.
        encoder: its name (`models.NAMES`).
        state: the name in a batch of what is paired with the picture, (B, state_size).
        state_size: how many numbers that are.
        embedding: dimensions of the common space.
        hidden: layers of the states' encoder.
        settings: further ones of the encoder.

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        encoder: str = "cnn",
        state: str = "state",
        state_size: int = 4,
        embedding: int = 64,
        hidden: Sequence[int] = (128, 128),
        **settings: Any,
    ) -> None:
        super().__init__(shape, features)
        layers.positive("state_size and embedding", (state_size, embedding))
        self.state = state
        self.encoder = models.build(encoder, shape, features, **settings)
        self.project = nn.Linear(features, embedding, bias=False)
        self.state_encoder = mlp(state_size, hidden, embedding)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def similarity(self, images: Tensor, states: Tensor) -> Tensor:
        """Cosine of each picture (B, ...) with each state (A, n), over the temperature: (B, A)."""
        pictures = functional.normalize(self.project(self.encoder(images)), dim=-1)
        others = functional.normalize(self.state_encoder(states), dim=-1)
        return pictures @ others.T * self.log_scale.clamp(max=_MOST).exp()

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """CLIP's loss; "found" is how often a picture's own state is the most alike of the batch's, "temperature" what it has come to.

        Args:
            batch: "input" (B, *shape) and the state (B, state_size).
            generator: not used.
        """
        similarity = self.similarity(batch["input"], batch[self.state])
        temperature = (-self.log_scale.detach().clamp(max=_MOST)).exp()
        return clip_loss(similarity), {"found": found_share(similarity.detach()), "temperature": temperature}


class Curl(Network):
    """Two shifted versions of a picture find each other among those of all others.

    One goes through the encoder, the other through a slowly following copy of it; they are compared by a learned bilinear form, q W kᵀ.

    Args:
        shape: of a picture.
        features: of its encoder.
        encoder: its name (`models.NAMES`).
        shifted: by up to so many pixels.
        momentum: share of its weights that the copy keeps in an update.
        settings: further ones of the encoder.

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self, shape: Sequence[int], features: int, encoder: str = "cnn", shifted: int = 4, momentum: float = 0.99, **settings: Any
    ) -> None:
        super().__init__(shape, features)
        if shifted < 1 or not 0 <= momentum < 1:
            raise SettingError(f"shifted must be at least 1 and momentum in [0, 1), found {shifted} and {momentum:g}")
        self.shifted, self.momentum = shifted, momentum
        self.encoder = models.build(encoder, shape, features, **settings)
        self.slow = deepcopy(self.encoder).requires_grad_(False)
        self.bilinear = nn.Parameter(torch.rand(features, features) / features)

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """InfoNCE; "found" is how often the other version is the most alike of the batch's.

        Args:
            batch: "input" (B, *shape).
            generator: of the shifts.
        """
        images = batch["input"]
        queries = self.encoder(random_shift(images, self.shifted, generator))
        with torch.no_grad():
            keys = self.slow(random_shift(images, self.shifted, generator))
        similarity = queries @ self.bilinear @ keys.T
        return info_nce(similarity), {"found": found_share(similarity.detach())}

    def after_step(self) -> None:
        """Let the copy follow."""
        follow(self.slow, self.encoder, self.momentum)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Move a network's parameters towards another's, keeping a share `momentum` of them; buffers are taken as they are."""
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1 - momentum)
    for own, other in zip(slow.buffers(), fast.buffers(), strict=True):
        own.copy_(other)
