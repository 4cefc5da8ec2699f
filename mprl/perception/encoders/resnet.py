"""A small residual network (He et al. 2016, arXiv 1512.03385)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mprl.perception.encoders import layers, sizes
from mprl.perception.network import Network, check_choice, check_image

POOLS = ("flatten", "average")


class Block(nn.Module):
    """Two 3×3 convolutions whose result is added to what came in; a 1×1 convolution fits the latter where sizes change.

    The last scale is 0 at first, so that a block begins as its shortcut (Goyal et al. 2017), unless it has no norm.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        bias = norm == "none"
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)
        self.first_norm = layers.norm(norm, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=bias)
        self.second_norm = layers.norm(norm, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=bias), layers.norm(norm, outputs))
        if isinstance(self.second_norm, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.zeros_(self.second_norm.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.first_norm(self.first(inputs)))
        return torch.relu(self.second_norm(self.second(hidden)) + self.shortcut(inputs))


class ResNet(Network):
    """A stem that halves the picture, stages of residual blocks each of which halves it again, a linear layer.

    Args:
        shape: (channels, height, width).
        features: outputs.
        channels: of each stage.
        blocks: in each stage.
        norm: "group", "batch" or "none".
        pool: "flatten" keeps where things are; "average" (the original) only that they are.
        output: what comes behind the linear layer, "none", "relu" or "norm".

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        channels: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
        norm: str = "group",
        pool: str = "flatten",
        output: str = "none",
    ) -> None:
        super().__init__(shape, features)
        found, *size = check_image(self.shape, "a ResNet")
        layers.positive("channels", channels)
        layers.positive("blocks", blocks)
        check_choice("pool", pool, POOLS)
        first = channels[0]
        self.stem = nn.Sequential(nn.Conv2d(found, first, 5, 2, 2, bias=norm == "none"), layers.norm(norm, first), nn.ReLU())
        stages, inputs = [], first
        for outputs in channels:
            stages += [Block(inputs if at == 0 else outputs, outputs, 2 if at == 0 else 1, norm) for at in range(blocks)]
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        # every halving is ⌈n / 2⌉: a kernel k with padding ⌊k / 2⌋ and stride 2
        height, width = (
            sizes.stack(n, [3] * (1 + len(channels)), *([value] * (1 + len(channels)) for value in (2, 1, 1)))[-1] for n in size
        )
        self.map_shape = inputs, height, width
        self.pool: nn.Module = nn.Flatten() if pool == "flatten" else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.linear = nn.Linear(inputs * (height * width if pool == "flatten" else 1), features)
        self.output = layers.output(output, features)

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.linear(self.pool(self.stages(self.stem(images)))))
