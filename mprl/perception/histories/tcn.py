"""Dilated causal convolutions over a history, as in WaveNet (van den Oord et al. 2016, arXiv 1609.03499).

With dilations 1, 2, 4, ... a few layers see far back, at a cost that grows with the logarithm of how far, and all steps at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception.encoders import layers, sizes
from mprl.perception.network import Network, check_history


class CausalConvolution(nn.Conv1d):
    """A convolution over (B, C, T) whose output at a step depends on that step and those before it; before the first there are zeros."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, dilation=dilation)
        self.before = dilation * (kernel - 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(functional.pad(inputs, (self.before, 0)))


class Block(nn.Module):
    """A dilated convolution through a gate, tanh(a) σ(b), or a ReLU; what comes out is added to what came in, and handed to the output."""

    def __init__(self, channels: int, kernel: int, dilation: int, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        self.convolution = CausalConvolution(channels, 2 * channels if gated else channels, kernel, dilation)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        found = self.convolution(inputs)
        if self.gated:
            values, gates = found.chunk(2, 1)
            found = torch.tanh(values) * torch.sigmoid(gates)
        else:
            found = torch.relu(found)
        found = self.mix(found)
        return inputs + found, found


class TCN(Network):
    """A temporal convolutional network; features are the sum of what all blocks found, through a ReLU and a linear layer.

    Args:
        shape: (steps, numbers); fewer or more steps do as well.
        features: outputs.
        channels: of the blocks.
        kernel: steps that a convolution takes in.
        dilations: of each block; () doubles from 1 until the whole history is seen.
        gated: WaveNet's gates, or ReLUs as of Bai et al. 2018.

    Attributes:
        receptive_field: steps that an output depends on, its own included: 1 + (k − 1) Σ d.

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        channels: int = 32,
        kernel: int = 2,
        dilations: Sequence[int] = (),
        gated: bool = True,
    ) -> None:
        super().__init__(shape, features)
        steps, numbers = check_history(self.shape, "a TCN")
        layers.positive("channels", channels)
        if kernel < 2:
            raise SettingError(f"a causal convolution needs a kernel of at least 2 steps, found {kernel}")
        dilations = layers.positive("dilations", dilations) if dilations else _doubling(steps, kernel)
        self.receptive_field = sizes.receptive_field([kernel] * len(dilations), dilations=dilations)
        self.embed = nn.Conv1d(numbers, channels, 1)
        self.blocks = nn.ModuleList(Block(channels, kernel, dilation, gated) for dilation in dilations)
        self.output = nn.Conv1d(channels, features, 1)

    def sequence(self, history: Tensor) -> Tensor:
        """Features after each step: (B, T, features) of (B, T, n)."""
        values, found = self.embed(history.transpose(1, 2)), []
        for block in self.blocks:
            values, skip = block(values)
            found.append(skip)
        return self.output(torch.relu(torch.stack(found).sum(0))).transpose(1, 2)

    def forward(self, history: Tensor) -> Tensor:
        return self.sequence(history)[:, -1]


def _doubling(steps: int, kernel: int) -> tuple[int, ...]:
    """Dilations 1, 2, 4, ... whose receptive field is at least so many steps."""
    found = [1]
    while sizes.receptive_field([kernel] * len(found), dilations=found) < steps:
        found.append(2 * found[-1])
    return tuple(found)
