"""Heatmaps in several stages, each of which sees those of the stage before (Convolutional Pose Machines: Wei et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mprl.errors import SettingError
from mprl.perception.encoders import layers
from mprl.perception.network import check_choice
from mprl.perception.pose2d import heatmaps
from mprl.perception.pose2d.network import HeatmapNetwork, Trunk


class Stage(nn.Sequential):
    """Convolutions that keep the size and look further and further (dilations 1, 2, 4), then one score for each channel that is told."""

    def __init__(self, inputs: int, width: int, outputs: int, norm: str, dilations: Sequence[int] = (1, 2, 4)) -> None:
        parts: list[nn.Module] = []
        for dilation in dilations:
            parts += [
                nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation, bias=norm == "none"),
                layers.norm(norm, width),
                nn.ReLU(),
            ]
            inputs = width
        super().__init__(*parts, nn.Conv2d(width, outputs, 1))


class CPM(HeatmapNetwork):
    """A trunk that is shared, and stages; all are taught the same heatmaps, so that no gradient has far to go.

    Args:
        shape: (channels, height, width).
        features: 3 K.
        num_stages: 1: heatmaps and nothing else.
        width: channels of the trunk and of the stages.
        decoder: how peaks are told (`heatmaps.DECODERS`).
        norm: "batch", "group" or "none".

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self, shape: Sequence[int], features: int, num_stages: int = 3, width: int = 48, decoder: str = "dark", norm: str = "batch"
    ) -> None:
        super().__init__(shape, features, decoder)
        check_choice("norm", norm, layers.NORMS)
        if num_stages < 1:
            raise SettingError(f"num_stages must be at least 1, found {num_stages}")
        self.trunk = Trunk(self.channels, width, norm)
        self.first = nn.Conv2d(width, self.points, 1)
        self.further = nn.ModuleList(Stage(width + self.points, width, self.points, norm) for _ in range(num_stages - 1))

    def scores(self, images: Tensor) -> list[Tensor]:
        features = self.trunk(images)
        scores = [self.first(features)]
        for stage in self.further:
            scores.append(stage(torch.cat([features, heatmaps.located(scores[-1], self.sigma)], 1)))
        return scores
