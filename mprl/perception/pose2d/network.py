"""What models of 2-D pose have in common: pictures in, keypoints out, and a trunk of convolutions that looks far.

As features for an agent a pose is x and y in [-1, 1] across the picture and a confidence in [0, 1] for each of K keypoints, 3 K numbers
in that order; as keypoints (`estimate`) they are pixels. A batch to learn from holds

| | |
|---|---|
| "input" | pictures, (B, 3, H, W) |
| "keypoints" | px, (B, K, 2); of several people (B, P, K, 2) |
| "visible" | 0 outside the picture, 1 hidden, 2 seen: (B, K) or (B, P, K) |
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception.encoders import layers
from mprl.perception.encoders.resnet import Block
from mprl.perception.network import Batch, Metrics, Network, check_image
from mprl.perception.pose2d import heatmaps, layouts, metrics

STRIDE = 4  # px along a cell of the heatmaps


class PoseNetwork(Network):
    """A model of one person's pose.

    Args:
        shape: (channels, height, width).
        features: 3 K for K keypoints.

    Attributes:
        points: K.

    Raises:
        SettingError: features that are no multiple of 3, or no picture.
    """

    def __init__(self, shape: Sequence[int], features: int) -> None:
        super().__init__(shape, features)
        self.channels, self.height, self.width = check_image(self.shape, f"a {type(self).__name__}")
        if features % 3:
            raise SettingError(f"a pose has 3 numbers for each keypoint: features must be a multiple of 3, found {features}")
        self.points = features // 3

    def estimate(self, images: Tensor) -> Tensor:
        """x and y px and confidence of each keypoint, (B, K, 3)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        found = self.estimate(images)
        size = found.new_tensor([self.width, self.height])
        return torch.cat([2 * found[..., :2] / size - 1, found[..., 2:]], -1).flatten(1)

    def judged(self, found: Tensor, batch: Batch) -> Metrics:
        """Share of the seen keypoints that are within a fifth of the torso: of one person, with COCO's keypoints, which have a torso."""
        if batch["keypoints"].ndim != 3 or self.points != len(layouts.points("coco_17")):
            return {}
        right, counted = metrics.pck(found[..., :2], batch["keypoints"], batch["visible"] == 2)
        return {"pck": right.sum() / counted.sum().clamp(min=1)}


class HeatmapNetwork(PoseNetwork):
    """A model that makes heatmaps, of which there may be several stages, each of them taught.

    Args:
        shape: (channels, height, width), divisible by `STRIDE`.
        features: 3 K.
        decoder: how peaks are told (`heatmaps.DECODERS`).

    Attributes:
        grid: rows and columns of a heatmap.
    """

    sigma = 1.0  # cells, of what is taught

    def __init__(self, shape: Sequence[int], features: int, decoder: str = "dark") -> None:
        super().__init__(shape, features)
        if decoder not in heatmaps.DECODERS:
            raise SettingError(f"decoder must be one of {', '.join(heatmaps.DECODERS)}, found '{decoder}'")
        if self.height % STRIDE or self.width % STRIDE:
            raise SettingError(f"the sides of a picture must be multiples of {STRIDE}, found {self.height} x {self.width}")
        self.decoder = decoder
        self.grid = self.height // STRIDE, self.width // STRIDE

    def scores(self, images: Tensor) -> list[Tensor]:
        """Of each stage, the best last, how likely each keypoint is in each cell, as of `heatmaps.located`: (B, K, *grid)."""
        raise NotImplementedError

    def stages(self, images: Tensor) -> list[Tensor]:
        """Heatmaps (B, K, *grid) of each stage, the best last."""
        return [heatmaps.located(scores, self.sigma) for scores in self.scores(images)]

    def heatmaps(self, images: Tensor) -> Tensor:
        """Of the last stage, (B, K, *grid)."""
        return self.stages(images)[-1]

    def estimate(self, images: Tensor) -> Tensor:
        found = heatmaps.decode(self.heatmaps(images), STRIDE, self.decoder)
        return torch.cat([found[..., :2], found[..., 2:].clamp(0, 1)], -1)

    def target(self, batch: Batch) -> Tensor:
        """What the heatmaps ought to be, (B, K, *grid): hidden keypoints too, as those of people behind something are to be guessed."""
        return heatmaps.gaussians(batch["keypoints"], batch["visible"] > 0, self.grid, STRIDE, self.sigma)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Cross-entropy of where keypoints are, mean over keypoints and stages."""
        stages, target = self.scores(batch["input"]), self.target(batch)
        loss = torch.stack([heatmaps.location_loss(scores, target, self.sigma) for scores in stages]).mean()
        if self.training:
            return loss, {}
        with torch.no_grad():
            return loss, self.judged(heatmaps.decode(heatmaps.located(stages[-1], self.sigma), STRIDE, self.decoder), batch)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """The picture, what its heatmaps ought to be and what they are, side by side: (B, 3, H, 3 W)."""
        images = batch["input"]
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        grey = ((images - low) / (high - low)).mean(1, keepdim=True)
        shown = [grey.expand(-1, 3, -1, -1)]
        for maps in (self.target(batch), self.heatmaps(images)):
            hot = functional.interpolate(maps.amax(1, keepdim=True).clamp(0, 1), scale_factor=STRIDE, mode="bilinear")
            shown.append(torch.cat([grey + (1 - grey) * hot, grey * (1 - hot), grey * (1 - hot)], 1))
        return {"heatmaps": torch.cat(shown, -1)}


class Trunk(nn.Module):
    """From a picture to features of each cell: down to a quarter, an eighth and a sixteenth of its size, and up to the quarter again.

    What is found in coarse maps, where a few convolutions see the whole picture, is added to the finer ones.

    Args:
        channels: of the picture.
        width: of the result; coarser maps have half as many more, and twice as many.
        norm: "batch", "group" or "none".

    Raises:
        SettingError: a width below 2.
    """

    def __init__(self, channels: int, width: int, norm: str = "batch") -> None:
        super().__init__()
        if width < 2:
            raise SettingError(f"width must be at least 2, found {width}")
        bias = norm == "none"
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width // 2, 5, 2, 2, bias=bias), layers.norm(norm, width // 2), nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, 2, 1, bias=bias), layers.norm(norm, width), nn.ReLU(),
        )  # fmt: skip
        middle, coarse = 3 * width // 2, 2 * width
        self.fine = Block(width, width, 1, norm)
        self.middle = Block(width, middle, 2, norm)
        self.coarse = nn.Sequential(Block(middle, coarse, 2, norm), Block(coarse, coarse, 1, norm))
        self.to_middle, self.to_fine = nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, width, 1)
        self.mixed_middle, self.mixed_fine = Block(middle, middle, 1, norm), Block(width, width, 1, norm)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(self.stem(images))
        middle = self.middle(fine)
        middle = self.mixed_middle(middle + _enlarged(self.to_middle(self.coarse(middle)), middle))
        return self.mixed_fine(fine + _enlarged(self.to_fine(middle), fine))


def _enlarged(maps: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(maps, size=like.shape[2:], mode="nearest")
