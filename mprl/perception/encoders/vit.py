"""A vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929): a picture as a sequence of patches, and one token for the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mprl.errors import SettingError
from mprl.perception.encoders import layers
from mprl.perception.network import Network, check_choice, check_image
from mprl.perception.transformer import blocks

POOLS = ("class", "mean")


class ViT(Network):
    """Patches become tokens with a learned place; a class token, which belongs to none, gathers what makes the features.

    Args:
        shape: (channels, height, width), divisible by the patch.
        features: outputs; where they differ from the width, a linear layer comes last.
        patch: pixels along a patch's side.
        width: numbers of a token; 0: as many as features.
        depth: blocks.
        heads: of attention in each.
        ratio: hidden size of a block's perceptron over the width.
        pool: features from the "class" token, or from the "mean" of the patches.
        output: what comes last, "none", "relu" or "norm".

    Raises:
        SettingError: a setting that cannot be.
    """

    blocks: Any  # a ModuleList of Block

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        patch: int = 8,
        width: int = 0,
        depth: int = 4,
        heads: int = 4,
        ratio: float = 2.0,
        pool: str = "class",
        output: str = "none",
    ) -> None:
        super().__init__(shape, features)
        channels, height, size = check_image(self.shape, "a ViT")
        check_choice("pool", pool, POOLS)
        layers.positive("patch, depth and heads", (patch, depth, heads))
        if height % patch or size % patch:
            raise SettingError(f"a picture of {height} x {size} cannot be cut into patches of {patch}; choose a divisor of both")
        self.patch, self.pool = patch, pool
        self.width = width = width or features
        self.grid = height // patch, size // patch
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], width))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.places, std=0.02)
        self.blocks = blocks(depth, width, heads, ratio)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Identity() if width == features else nn.Linear(width, features)
        self.output = layers.output(output, features)

    def tokens(self, images: Tensor) -> Tensor:
        """What goes into the first block: (B, 1 + patches, width), the class token first, patches row by row."""
        patches = self.embed(images).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(images), -1, -1), patches], 1) + self.places

    def encode(self, tokens: Tensor) -> Tensor:
        """Through the blocks: (B, n, width)."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def pooled(self, tokens: Tensor) -> Tensor:
        """Features (B, features) of encoded tokens (B, 1 + n, width)."""
        return self.output(self.head(tokens[:, 0] if self.pool == "class" else tokens[:, 1:].mean(1)))

    def forward(self, images: Tensor) -> Tensor:
        return self.pooled(self.encode(self.tokens(images)))

    @torch.no_grad()
    def attention(self, images: Tensor) -> Tensor:
        """What each token takes from each other one: (B, depth, heads, n, n), n = 1 + patches, rows summing to 1."""
        tokens, found = self.tokens(images), []
        for block in self.blocks:
            found.append(block.weights(tokens))
            tokens = block(tokens)
        return torch.stack(found, 1)

    def attention_maps(self, images: Tensor) -> Tensor:
        """Where the class token looks in the last block, for pictures: (B, heads, H / patch, W / patch)."""
        return self.attention(images)[:, -1, :, 0, 1:].unflatten(-1, self.grid)
