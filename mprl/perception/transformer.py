"""Transformer blocks (Vaswani et al. 2017, arXiv 1706.03762), normalised before each part (Xiong et al. 2020, arXiv 2002.04745)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError


class Attention(nn.Module):
    """Multi-head self-attention: softmax(Q Kᵀ / √d) V in each head.

    Args:
        width: numbers of a token.
        heads: among which they are divided.
        causal: a token sees only itself and those before it.

    Raises:
        SettingError: the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise SettingError(f"the width of a transformer must be divisible by its heads, found {width} and {heads}")
        self.heads, self.causal = heads, causal
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, count, width = tokens.shape
        parts = self.queries_keys_values(tokens).view(batch, count, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        return queries, keys, values

    def forward(self, tokens: Tensor) -> Tensor:
        found = functional.scaled_dot_product_attention(*self._split(tokens), is_causal=self.causal)
        return self.output(found.transpose(1, 2).flatten(2))

    def weights(self, tokens: Tensor) -> Tensor:
        """How much each token takes from each other one: (B, heads, n, n), rows summing to 1."""
        queries, keys, _ = self._split(tokens)
        scores = queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5
        if self.causal:
            count = tokens.shape[1]
            scores = scores.masked_fill(torch.ones(count, count, dtype=torch.bool, device=tokens.device).triu(1), -torch.inf)
        return scores.softmax(-1)


class Block(nn.Module):
    """Attention, then a perceptron for each token; the result of each is added to what came in."""

    def __init__(self, width: int, heads: int, ratio: float = 2.0, causal: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal)
        self.perceptron_norm = nn.LayerNorm(width)
        hidden = int(ratio * width)
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.perceptron(self.perceptron_norm(tokens))

    def weights(self, tokens: Tensor) -> Tensor:
        """Its attention (B, heads, n, n) for what comes in."""
        return self.attention.weights(self.attention_norm(tokens))


def blocks(depth: int, width: int, heads: int, ratio: float = 2.0, causal: bool = False) -> nn.ModuleList:
    """So many, with weights of standard deviation .02 and no biases at first, as in BERT and ViT."""
    made = nn.ModuleList(Block(width, heads, ratio, causal) for _ in range(depth))
    for module in made.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    return made
