"""Part-affinity fields: heatmaps of everybody's keypoints, and for each limb a field that points along it (OpenPose: Cao et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception.encoders import layers
from mprl.perception.network import Batch, Metrics, check_choice
from mprl.perception.pose2d import heatmaps
from mprl.perception.pose2d.cpm import Stage
from mprl.perception.pose2d.grouping import group
from mprl.perception.pose2d.limbs import limbs
from mprl.perception.pose2d.network import STRIDE, HeatmapNetwork, Trunk

_ON_LIMBS = 10.0  # weight of a field's cells on a limb, a few in a hundred: fields of 0 everywhere must not be nearly right
_RARE = -4.0  # a heatmap's logit at first: in most cells there is no keypoint


class PAF(HeatmapNetwork):
    """Stages as of a CPM that tell heatmaps and fields together; `people` makes people of them.

    Args:
        shape: (channels, height, width).
        features: 3 K; as features for an agent it tells one person, whose keypoints are the brightest.
        num_stages: how many.
        width: channels of the trunk and of the stages.
        layout: of the keypoints, K in number.
        decoder: how peaks are told (`heatmaps.DECODERS`).
        norm: "batch", "group" or "none".

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int = 51,
        num_stages: int = 2,
        width: int = 48,
        layout: str = "coco_17",
        decoder: str = "dark",
        norm: str = "batch",
    ) -> None:
        super().__init__(shape, features, decoder)
        check_choice("norm", norm, layers.NORMS)
        self.limbs = limbs(layout)
        if num_stages < 1 or self.points != max(map(max, self.limbs)) + 1:
            count = max(map(max, self.limbs)) + 1
            raise SettingError(f"num_stages must be at least 1 and features {3 * count} for {layout}, found {num_stages} and {features}")
        told = self.points + 2 * len(self.limbs)
        self.trunk = Trunk(self.channels, width, norm)
        self.first = nn.Conv2d(width, told, 1)
        self.further = nn.ModuleList(Stage(width + told, width, told, norm) for _ in range(num_stages - 1))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.out_channels == told and layer.bias is not None:
                nn.init.constant_(layer.bias[: self.points], _RARE)

    def told(self, images: Tensor) -> list[Tensor]:
        """Of each stage the heatmaps' logits and, behind them, x and y of each limb's field, (B, K + 2 L, *grid)."""
        features = self.trunk(images)
        told = [self.first(features)]
        for stage in self.further:
            maps, fields = told[-1].tensor_split([self.points], 1)
            told.append(stage(torch.cat([features, maps.sigmoid(), fields], 1)))
        return told

    def stages(self, images: Tensor) -> list[Tensor]:
        return [each[:, : self.points].sigmoid() for each in self.told(images)]

    def people(self, images: Tensor, **settings: Any) -> list[Tensor]:
        """Everybody in each picture: keypoints (P, K, 3) in px with their heatmaps' values, 0 where not found, the surest first.

        Args:
            images: (B, C, H, W).
            settings: of `grouping.group`.
        """
        told = self.told(images)[-1]
        maps, fields = told[:, : self.points].sigmoid(), told[:, self.points :].unflatten(1, (len(self.limbs), 2))
        return [group(*each, self.limbs, STRIDE, **settings) for each in zip(maps, fields, strict=True)]

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Cross-entropy of heatmaps and squared error of fields, summed over cells, mean over channels and stages."""
        keypoints, shown = batch["keypoints"], batch["visible"] > 0
        if keypoints.ndim == 3:
            keypoints, shown = keypoints[:, None], shown[:, None]
        maps = heatmaps.gaussians(keypoints, shown, self.grid, STRIDE, self.sigma)
        along = fields(keypoints, shown, self.limbs, self.grid, STRIDE)
        weight = torch.where((along != 0).any(2, keepdim=True), _ON_LIMBS, 1.0)

        def errors(told: Tensor) -> tuple[Tensor, Tensor]:
            logits, found = told[:, : self.points], told[:, self.points :].unflatten(1, (len(self.limbs), 2))
            of_maps = functional.binary_cross_entropy_with_logits(logits, maps, reduction="none").sum((2, 3)).mean()
            return of_maps, (weight * (found - along).square()).sum((3, 4)).mean()

        of_stages = [errors(told) for told in self.told(batch["input"])]
        loss = torch.stack([of_maps + of_fields for of_maps, of_fields in of_stages]).mean()
        of_maps, of_fields = of_stages[-1]
        return loss, {"heatmap_error": of_maps.detach(), "field_error": of_fields.detach()}


def fields(keypoints: Tensor, shown: Tensor, joined: Sequence[tuple[int, int]], size: tuple[int, int], stride: float) -> Tensor:
    """Unit vectors along limbs on cells that are less than a cell from them; the mean of those of people whose limbs cross there.

    Args:
        keypoints: (B, P, K, 2) px.
        shown: (B, P, K) bool.
        joined: the two ends of each of L limbs.
        size: rows and columns.
        stride: px along a cell.

    Returns:
        (B, L, 2, *size).
    """
    height, width = size
    rows, columns = torch.arange(height, device=keypoints.device) + 0.5, torch.arange(width, device=keypoints.device) + 0.5
    places = keypoints / stride
    begin, end = (places[:, :, [pair[side] for pair in joined]] for side in (0, 1))  # (B, P, L, 2)
    both = shown[:, :, [a for a, _ in joined]] & shown[:, :, [b for _, b in joined]]
    along = end - begin
    length = along.norm(dim=-1, keepdim=True)
    unit = along / length.clamp(min=1e-6)
    x, y = columns - begin[..., 0, None], rows - begin[..., 1, None]  # (B, P, L, W), (B, P, L, H)
    forward = x[..., None, :] * unit[..., 0, None, None] + y[..., :, None] * unit[..., 1, None, None]
    aside = x[..., None, :] * unit[..., 1, None, None] - y[..., :, None] * unit[..., 0, None, None]
    on = (forward >= -0.5) & (forward <= length[..., None] + 0.5) & (aside.abs() <= 1.0) & both[..., None, None]
    total = (on[:, :, :, None] * unit[..., None, None]).sum(1)
    return total / on.sum(1).clamp(min=1)[:, :, None]
