"""An autoencoder: features from which the observation can be made again; with noise on its input, a denoising one.

Without layers it is linear, and what it learns spans the principal components (Baldi & Hornik 1989). A denoising one is shown a
corrupted observation and must make the clean one (Vincent et al. 2008), so that its features are of what noise cannot hide.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception.autoencoders import trunks
from mprl.perception.network import Batch, Metrics, Network


class AutoEncoder(Network):
    """Encoder, code, decoder; learns by the squared error of what the decoder makes.

    Args:
        shape: (channels, height, width) of pictures, or any other.
        features: numbers of the code.
        layers: channels of the convolutions, or hidden sizes; () is linear, None `trunks.layers_for`.
        activation: between layers.
        noise: standard deviation of what is added to each number of the input while learning.
        dropped: share of the input's numbers (of pictures: pixels, in all channels) that are set to 0 while learning.

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        layers: Sequence[int] | None = None,
        activation: str = "elu",
        noise: float = 0.0,
        dropped: float = 0.0,
    ) -> None:
        super().__init__(shape, features)
        if not noise >= 0 or not 0 <= dropped < 1:
            raise SettingError(f"noise must be at least 0 and dropped in [0, 1), found {noise:g} and {dropped:g}")
        layers = trunks.layers_for(self.shape, layers)
        self.noise, self.dropped = noise, dropped
        self.encoder = trunks.encoder(self.shape, features, layers, activation)
        self.decoder = trunks.decoder(features, self.shape, layers, activation)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.encoder(inputs)

    def reconstruct(self, inputs: Tensor) -> Tensor:
        """What can be made again of observations (B, *shape) from their features alone."""
        return self.decoder(self(inputs))

    def corrupt(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """With noise added and parts dropped."""
        if self.noise:
            inputs = inputs + self.noise * torch.randn(inputs.shape, generator=generator, device=inputs.device)
        if self.dropped:
            mask = (len(inputs), 1, *inputs.shape[2:]) if inputs.ndim == 4 else inputs.shape
            inputs = inputs * (torch.rand(mask, generator=generator, device=inputs.device) >= self.dropped)
        return inputs

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Mean squared error a number. While not training nothing is corrupted.

        Args:
            batch: "input" (B, *shape).
            generator: of the noise.
        """
        inputs = batch["input"]
        shown = self.corrupt(inputs, generator) if self.training else inputs
        loss = functional.mse_loss(self.reconstruct(shown), inputs)
        return loss, {"mse": loss.detach()}

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures, and what is made of them."""
        images = batch["input"]
        shown = self.corrupt(images, torch.Generator(images.device).manual_seed(0)) if self.noise or self.dropped else None
        made = self.reconstruct(images if shown is None else shown)
        return {"reconstruction": trunks.side_by_side(images, *([] if shown is None else [shown]), made)}


class DenoisingAutoEncoder(AutoEncoder):
    """An autoencoder that learns from corrupted observations unless told otherwise."""

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        layers: Sequence[int] | None = None,
        activation: str = "elu",
        noise: float = 0.1,
        dropped: float = 0.2,
    ) -> None:
        super().__init__(shape, features, layers, activation, noise, dropped)
