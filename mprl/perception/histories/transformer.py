"""A causal transformer over a history: each step looks back at whichever earlier steps matter to it (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mprl.errors import SettingError
from mprl.perception.encoders import layers
from mprl.perception.network import Network, check_history
from mprl.perception.transformer import blocks


class CausalTransformer(Network):
    """Each observation becomes a token with a learned place in the history; features are the last token's.

    Args:
        shape: (steps, numbers); no more steps than these, fewer do as well.
        features: outputs; where they differ from the width, a linear layer comes last.
        width: numbers of a token; 0: as many as features.
        depth: blocks.
        heads: of attention in each.
        ratio: hidden size of a block's perceptron over the width.

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(self, shape: Sequence[int], features: int, width: int = 0, depth: int = 2, heads: int = 4, ratio: float = 2.0) -> None:
        super().__init__(shape, features)
        steps, numbers = check_history(self.shape, "a causal transformer")
        layers.positive("depth and heads", (depth, heads))
        width = width or features
        self.embed = nn.Linear(numbers, width)
        self.places = nn.Parameter(torch.empty(steps, width))
        nn.init.trunc_normal_(self.places, std=0.02)
        self.blocks = blocks(depth, width, heads, ratio, causal=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Identity() if width == features else nn.Linear(width, features)

    def sequence(self, history: Tensor) -> Tensor:
        """Features after each step: (B, T, features) of (B, T, n).

        Raises:
            SettingError: there are more steps than it has places for.
        """
        steps = history.shape[1]
        if steps > len(self.places):
            raise SettingError(f"this causal transformer has places for {len(self.places)} steps, found {steps}")
        tokens = self.embed(history) + self.places[:steps]
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens))

    def forward(self, history: Tensor) -> Tensor:
        return self.sequence(history)[:, -1]
