"""A masked autoencoder (He et al. 2022, arXiv 2111.06377): from a few patches of a picture, tell the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mprl.errors import SettingError
from mprl.perception.autoencoders.trunks import side_by_side
from mprl.perception.encoders.vit import ViT
from mprl.perception.network import Batch, Metrics, Network
from mprl.perception.selfsupervised.attention import attention_picture
from mprl.perception.transformer import blocks


class MaskedAutoEncoder(Network):
    """A vision transformer that sees the patches that are shown, and a small decoder that tells the pixels of those that are hidden.

    Args:
        shape: (channels, height, width).
        features: numbers of a token and of the features.
        hidden: share of the patches that is hidden while learning.
        patch, depth, heads, pool: of the encoder, as of `ViT`.
        decoder_width, decoder_depth: of the decoder.
        normalized: tell each patch in units of its own mean and standard deviation, which makes plain patches as hard as others.

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        hidden: float = 0.75,
        patch: int = 8,
        depth: int = 4,
        heads: int = 4,
        pool: str = "class",
        decoder_width: int = 64,
        decoder_depth: int = 1,
        normalized: bool = False,
    ) -> None:
        super().__init__(shape, features)
        self.encoder = ViT(shape, features, patch, 0, depth, heads, pool=pool)
        self.patches = self.encoder.grid[0] * self.encoder.grid[1]
        self.shown = self.patches - round(hidden * self.patches)
        if not 0 < self.shown < self.patches:
            raise SettingError(f"of {self.patches} patches some must be hidden and some shown, found hidden {hidden:g}")
        self.normalized = normalized
        self.to_decoder = nn.Linear(features, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.places = nn.Parameter(torch.empty(1, 1 + self.patches, decoder_width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.places, std=0.02)
        self.decoder = blocks(decoder_depth, decoder_width, heads)
        self.norm = nn.LayerNorm(decoder_width)
        self.to_pixels = nn.Linear(decoder_width, self.shape[0] * patch * patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def cut(self, images: Tensor) -> Tensor:
        """Pictures (B, C, H, W) as patches (B, n, C p p), row by row."""
        p, (rows, columns) = self.encoder.patch, self.encoder.grid
        return images.unflatten(3, (columns, p)).unflatten(2, (rows, p)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def join(self, patches: Tensor) -> Tensor:
        """The way back."""
        p, (rows, columns) = self.encoder.patch, self.encoder.grid
        parts = patches.unflatten(2, (self.shape[0], p, p)).unflatten(1, (rows, columns))
        return parts.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)

    def order(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """A random order of the patches for each picture, (B, n); the first `shown` are."""
        device = self.mask_token.device
        return torch.rand(count, self.patches, generator=generator, device=device).argsort(1)

    def tell(self, images: Tensor, order: Tensor) -> Tensor:
        """All patches (B, n, C p p) as they are told from those that are shown."""
        tokens = self.encoder.tokens(images)
        shown, hidden = order[:, : self.shown], order[:, self.shown :]
        chosen = torch.cat([torch.zeros_like(shown[:, :1]), 1 + shown], 1)  # the class token too
        encoded = self.to_decoder(self.encoder.encode(_take(tokens, chosen)))
        filled = torch.cat([encoded, self.mask_token.expand(len(images), hidden.shape[1], -1)], 1)
        back = torch.cat([torch.zeros_like(order[:, :1]), 1 + order.argsort(1)], 1)
        filled = _take(filled, back) + self.places
        for block in self.decoder:
            filled = block(filled)
        return self.to_pixels(self.norm(filled))[:, 1:]

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Mean squared error of the hidden patches.

        Args:
            batch: "input" (B, *shape).
            generator: of what is hidden.
        """
        images = batch["input"]
        order = self.order(len(images), generator)
        target = self.cut(images)
        if self.normalized:
            target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        error = (self.tell(images, order) - target).square().mean(-1)
        loss = error.gather(1, order[:, self.shown :]).mean()
        return loss, {"mse": loss.detach()}

    @torch.no_grad()
    def filled(self, images: Tensor, generator: torch.Generator | None = None, blank: float = 0.5) -> tuple[Tensor, Tensor]:
        """Pictures (B, *shape) of which a part is hidden, under `blank`, and with what is told in its place."""
        order = self.order(len(images), generator)
        patches, told = self.cut(images), self.tell(images, order)
        if self.normalized:
            told = told * (patches.var(-1, keepdim=True) + 1e-6).sqrt() + patches.mean(-1, keepdim=True)
        is_hidden = torch.ones_like(order).scatter(1, order[:, : self.shown], 0).unsqueeze(-1).bool()
        return self.join(torch.where(is_hidden, blank, patches)), self.join(torch.where(is_hidden, told, patches))

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Picture, what is shown of it, and what is told; and where the class token looks."""
        images = batch["input"]
        shown, made = self.filled(images, torch.Generator(images.device).manual_seed(0))
        return {"reconstruction": side_by_side(images, shown, made), "attention": attention_picture(self.encoder, images)}


def _take(tokens: Tensor, indices: Tensor) -> Tensor:
    """Of tokens (B, n, width) those at indices (B, m)."""
    return tokens.gather(1, indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
