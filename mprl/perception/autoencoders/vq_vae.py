"""A picture in words of a small dictionary: VQ-VAE (van den Oord et al. 2017, arXiv 1711.00937)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception.autoencoders import trunks
from mprl.perception.autoencoders.quantizer import Quantizer, perplexity
from mprl.perception.encoders import layers as named
from mprl.perception.network import Batch, Metrics, Network, check_image


class VQVAE(Network):
    """Convolutions to a grid of vectors, each of which is replaced by the nearest code; convolutions back to the picture.

    Args:
        shape: (channels, height, width).
        features: numbers of all the grid's codes together, so that they divide by its cells.
        layers: channels of the convolutions, each of which halves the picture; None: `trunks.layers_for`.
        activation: between layers.
        codes: in the codebook.
        commitment: weight of the term that keeps the encoder at its codes, the paper's β.
        decay: of the codebook's moving averages.

    Attributes:
        grid: rows and columns of cells.

    Raises:
        SettingError: a setting that cannot be, or features that do not divide by the cells.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        layers: Sequence[int] | None = None,
        activation: str = "elu",
        codes: int = 256,
        commitment: float = 0.25,
        decay: float = 0.97,
    ) -> None:
        super().__init__(shape, features)
        check_image(self.shape, "a VQ-VAE")
        layers = trunks.layers_for(self.shape, layers)
        if not layers:
            raise SettingError("a VQ-VAE needs at least one layer")
        self.grid = trunks.halved(self.shape, layers)[-1]
        cells = self.grid[0] * self.grid[1]
        if features % cells:
            nearest = max(1, round(features / cells)) * cells
            raise SettingError(
                f"a VQ-VAE's features are the codes of its {self.grid[0]} x {self.grid[1]} cells: expected a multiple of {cells}, "
                f"found {features}; {nearest} is the nearest"
            )
        size = features // cells
        self.commitment = commitment
        self.encoder = nn.Sequential(*trunks.convolutions(self.shape, layers, activation), nn.Conv2d(layers[-1], size, 1))
        self.quantizer = Quantizer(codes, size, decay)
        self.decoder = nn.Sequential(
            nn.Conv2d(size, layers[-1], 3, padding=1),
            named.activation(activation),
            *trunks.transposed_convolutions(self.shape, layers, activation),
        )

    def vectors(self, images: Tensor) -> Tensor:
        """The encoder's, not yet codes: (B × cells, n), cell by cell."""
        return self.encoder(images).permute(0, 2, 3, 1).flatten(0, 2)

    def words(self, images: Tensor) -> Tensor:
        """Pictures as indices of codes: (B, rows, columns)."""
        return self.quantizer.nearest(self.vectors(images)).view(len(images), *self.grid)

    def decode(self, words: Tensor) -> Tensor:
        """Pictures (B, *shape) of indices (B, rows, columns)."""
        return self.decoder(self.quantizer.codebook[words].permute(0, 3, 1, 2))

    def forward(self, images: Tensor) -> Tensor:
        return self.quantizer(self.vectors(images))[0].view(len(images), self.features)

    def reconstruct(self, images: Tensor) -> Tensor:
        """What can be made again of pictures (B, *shape) from their codes."""
        return self._decoded(self.quantizer(self.vectors(images))[0], len(images))

    def _decoded(self, quantized: Tensor, count: int) -> Tensor:
        return self.decoder(quantized.view(count, *self.grid, -1).permute(0, 3, 1, 2))

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Mean squared error a number + β ‖z − sg[e]‖². While training it moves the codebook too.

        Args:
            batch: "input" (B, *shape).
            generator: of what codes begin at, and dead ones go on from.

        Returns:
            The loss; "mse" a number of the picture, "commitment" ‖z − e‖² a number of the grid, "perplexity" of the codes in this batch,
            and while training the "revived" codes.
        """
        images = batch["input"]
        vectors = self.vectors(images)
        if self.training and not self.quantizer.counts.any():
            self.quantizer.begin(vectors, generator)
        quantized, indices = self.quantizer(vectors)
        mse = functional.mse_loss(self._decoded(quantized, len(images)), images)
        committed = functional.mse_loss(vectors, quantized.detach())
        metrics = {"mse": mse.detach(), "commitment": committed.detach()}
        metrics["perplexity"] = perplexity(torch.bincount(indices, minlength=len(self.quantizer.codebook)).float())
        if self.training:
            metrics["revived"] = self.quantizer.update(vectors.detach(), indices, generator).float()
        return mse + self.commitment * committed, metrics

    @torch.no_grad()
    def perplexity(self, batches: Sequence[Tensor]) -> float:
        """Of the codes over all pictures of a data set, batches (B, *shape) of it."""
        counts = torch.zeros(len(self.quantizer.codebook))
        for images in batches:
            counts += torch.bincount(self.words(images).flatten(), minlength=len(counts)).cpu()
        return float(perplexity(counts))

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures, and what is made of them."""
        return {"reconstruction": trunks.side_by_side(batch["input"], self.reconstruct(batch["input"]))}
