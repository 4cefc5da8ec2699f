"""Pictures of people as what models of 2-D pose learn from, and pieces of pictures around people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mprl.errors import DatasetError
from mprl.perception.datasets import Dataset
from mprl.perception.pose2d import layouts
from mprl.perception.spec import Spec

COLUMNS = ("image", "keypoints", "visible")
MEAN, STD = 127.5, 64.0  # of bytes, as a network sees them
MARGIN = 1.25  # of a piece around a person over the longer side of its box


def spec(height: int, width: int) -> Spec:
    """What models of pose read: colour pictures of this size."""
    return Spec((height, width, 3), mean=MEAN, std=STD)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PoseSamples:
    """Batches of a dataset of people, as `network.PoseNetwork` learns from them.

    Args:
        dataset: with columns `image` (H, W, 3), `keypoints` (P, K, 2) px and `visible` (P, K): 0 outside, 1 hidden, 2 seen.
        batch_size: pictures.
        several: tell everybody's keypoints, (B, P, K, 2); else the first person's, (B, K, 2).
        flip: show half of the pictures as in a mirror.
        layout: of the keypoints.

    Raises:
        DatasetError: a column is missing, or the keypoints are of another layout.
    """

    dataset: Dataset
    batch_size: int = 32
    several: bool = False
    flip: bool = True
    layout: str = "coco_17"

    def __post_init__(self) -> None:
        columns, count = self.dataset.columns, len(layouts.points(self.layout))
        missing = [name for name in COLUMNS if name not in columns]
        if missing:
            raise DatasetError(f"{self.dataset.folder}: holds no pictures of people: the column '{missing[0]}' is missing")
        found = columns["keypoints"][1]
        if len(found) != 3 or found[1:] != (count, 2):
            raise DatasetError(f"{self.dataset.folder}: expected keypoints (people, {count}, 2) of {self.layout}, found {found}")

    @property
    def spec(self) -> Spec:
        """What a model of these pictures reads."""
        height, width, _ = self.dataset.columns["image"][1]
        return spec(height, width)

    def batches(self, generator: torch.Generator | None = None) -> Iterator[dict[str, Tensor]]:
        """All pictures once, in an order that follows from the generator."""
        random = torch.Generator().manual_seed(0) if generator is None else generator
        seed = int(torch.randint(2**31 - 1, (), generator=random))
        prepare = self.spec.prepare
        for raw in self.dataset.batches(self.batch_size, columns=COLUMNS, seed=seed):
            batch = {"input": prepare(raw["image"]), "keypoints": raw["keypoints"], "visible": raw["visible"].long()}
            if self.flip:
                batch = flipped(batch, torch.rand(len(batch["input"]), generator=random) < 0.5, self.layout)
            if not self.several:
                batch = {name: value if name == "input" else value[:, 0] for name, value in batch.items()}
            yield batch


def flipped(batch: dict[str, Tensor], which: Tensor, layout: str = "coco_17") -> dict[str, Tensor]:
    """Some pictures (B,) as a mirror shows them, where left is right: of keypoints too."""
    images, keypoints, visible = batch["input"], batch["keypoints"], batch["visible"]
    other = layouts.mirror(layout)
    turned = keypoints[..., other, :] * keypoints.new_tensor([-1.0, 1.0]) + keypoints.new_tensor([float(images.shape[-1]), 0.0])
    pick = which.view(-1, *[1] * (keypoints.ndim - 2))
    return {
        "input": torch.where(which.view(-1, 1, 1, 1), images.flip(-1), images),
        "keypoints": torch.where(pick[..., None], turned, keypoints),
        "visible": torch.where(pick, visible[..., other], visible),
    }


def around(boxes: Tensor, height: int, width: int, margin: float = MARGIN) -> Tensor:
    """Pieces of pictures around people, of the shape that a model reads: middle x, middle y and px for each of its pixels, (N, 3).

    Args:
        boxes: left, top, width, height, (N, 4) px.
        height, width: that the model reads.
        margin: of the piece over the box.
    """
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    scale = margin * torch.maximum(boxes[:, 2] / width, boxes[:, 3] / height)
    return torch.cat([middle, scale.clamp(min=1e-3)[:, None]], 1)


def cut(images: Tensor, pieces: Tensor, height: int, width: int) -> Tensor:
    """Pieces of pictures, one of each, resampled: (N, C, H, W) -> (N, C, height, width). Beyond the edge the edge goes on.

    Args:
        images: (N, C, H, W), float.
        pieces: of `around`.
        height, width: of the result.
    """
    x = pieces[:, 0, None] + pieces[:, 2, None] * (torch.arange(width) + 0.5 - width / 2)
    y = pieces[:, 1, None] + pieces[:, 2, None] * (torch.arange(height) + 0.5 - height / 2)
    across, down = 2 * x / images.shape[3] - 1, 2 * y / images.shape[2] - 1
    grid = torch.stack([across[:, None].expand(-1, height, -1), down[..., None].expand(-1, -1, width)], -1)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def back(keypoints: Tensor, pieces: Tensor, height: int, width: int) -> Tensor:
    """Keypoints (N, K, 3) in pieces as keypoints in their pictures."""
    places = (keypoints[..., :2] - keypoints.new_tensor([width / 2, height / 2])) * pieces[:, None, 2:] + pieces[:, None, :2]
    return torch.cat([places, keypoints[..., 2:]], -1)
