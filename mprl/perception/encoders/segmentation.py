"""What is where: networks that give every pixel a class, and whose innermost layer are features for an agent.

Both have the same way down. `FCN` adds up coarse and fine scores (Long, Shelhamer & Darrell 2015, arXiv 1411.4038); `UNet` goes the way
up again with all that it knew on the way down (Ronneberger, Fischer & Brox 2015, arXiv 1505.04597).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.errors import SettingError
from mprl.perception.encoders import layers
from mprl.perception.network import Batch, Metrics, Network, check_image


def _twice(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    """Two 3×3 convolutions that keep the size."""
    bias = norm == "none"
    parts: list[nn.Module] = []
    for _ in range(2):
        parts += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), layers.norm(norm, outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*parts)


class Segmentation(Network):
    """The way down, and learning. `forward` gives the innermost layer's mean over the picture: its channels are the features.

    Args:
        shape: (channels, height, width).
        features: channels of the innermost layer.
        classes: how many; a target is a class of 0 … classes − 1 for each pixel, or −1 where it is not known.
        channels: of the layers above it, each of twice the resolution of the next.
        norm: "group", "batch" or "none".

    Raises:
        SettingError: a setting that cannot be, or a picture too small to be halved so often.
    """

    def __init__(
        self, shape: Sequence[int], features: int, classes: int = 2, channels: Sequence[int] = (16, 32, 64), norm: str = "group"
    ) -> None:
        super().__init__(shape, features)
        inputs, height, width = check_image(self.shape, f"a {type(self).__name__}")
        layers.positive("classes", classes)
        if min(height, width) < 2 ** len(channels):
            raise SettingError(f"a picture of {height} x {width} cannot be halved {len(channels)} times; give fewer channels")
        self.classes = classes
        self.down = nn.ModuleList()
        for outputs in (*channels, features):
            self.down.append(_twice(inputs, outputs, norm))
            inputs = outputs

    def maps(self, images: Tensor) -> list[Tensor]:
        """What each layer of the way down finds, the innermost last: (B, channels, h, w), h and w halved from one to the next."""
        found = [self.down[0](images)]
        for layer in list(self.down)[1:]:
            found.append(layer(functional.max_pool2d(found[-1], 2)))
        return found

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images)[-1].mean((2, 3))

    def logits(self, images: Tensor) -> Tensor:
        """Scores (B, classes, H, W), whose softmax is a probability for each class."""
        raise NotImplementedError

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Cross-entropy (nats a pixel), and the share of pixels and mean intersection over union that are right.

        Args:
            batch: "input" (B, *shape) and "target" (B, H, W) or (B, 1, H, W), class ids.
            generator: not used.
        """
        logits = self.logits(batch["input"])
        target = batch["target"].reshape(len(logits), *logits.shape[2:]).long()
        loss = functional.cross_entropy(logits, target, ignore_index=-1)
        with torch.no_grad():
            found = logits.argmax(1)
            known = target >= 0
            accuracy = (found == target)[known].float().mean()
            return loss, {"accuracy": accuracy, "iou": mean_iou(found[known], target[known], self.classes)}

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Picture, truth and what was found, side by side: (B, 3, H, 3 W)."""
        images = batch["input"]
        colors = torch.rand(self.classes, 3, generator=torch.Generator().manual_seed(3)).to(images)
        found = self.logits(images).argmax(1)
        target = batch["target"].reshape(found.shape).long().clamp(min=0)
        shown = images[:, -3:] if images.shape[1] >= 3 else images[:, -1:].expand(-1, 3, -1, -1)
        return {"segmentation": torch.cat([shown, colors[target].permute(0, 3, 1, 2), colors[found].permute(0, 3, 1, 2)], -1).clamp(0, 1)}


def mean_iou(found: Tensor, target: Tensor, classes: int) -> Tensor:
    """Mean over the classes that are there of |found ∩ target| / |found ∪ target|; both class ids (n,)."""
    pairs = torch.bincount(target * classes + found, minlength=classes**2).view(classes, classes).float()
    both = pairs.diagonal()
    either = pairs.sum(0) + pairs.sum(1) - both
    return (both / either.clamp(min=1))[either > 0].mean()


class FCN(Segmentation):
    """Every layer of the way down scores the classes; coarse scores are enlarged and added to the finer ones (the paper's skips)."""

    def __init__(
        self, shape: Sequence[int], features: int, classes: int = 2, channels: Sequence[int] = (16, 32, 64), norm: str = "group"
    ) -> None:
        super().__init__(shape, features, classes, channels, norm)
        self.scores = nn.ModuleList(nn.Conv2d(size, classes, 1) for size in (*channels, features))

    def logits(self, images: Tensor) -> Tensor:
        *finer, total = (score(found) for score, found in zip(self.scores, self.maps(images), strict=True))
        for scores in reversed(finer):
            total = scores + functional.interpolate(total, size=scores.shape[2:], mode="bilinear", align_corners=False)
        return total


class UNet(Segmentation):
    """The way up: what comes from below is enlarged and laid beside what the way down found at the same resolution."""

    def __init__(
        self, shape: Sequence[int], features: int, classes: int = 2, channels: Sequence[int] = (16, 32, 64), norm: str = "group"
    ) -> None:
        super().__init__(shape, features, classes, channels, norm)
        below = [*channels[1:], features]
        self.up = nn.ModuleList(_twice(inner + size, size, norm) for inner, size in zip(below, channels, strict=True))
        self.score = nn.Conv2d(channels[0] if channels else features, classes, 1)

    def logits(self, images: Tensor) -> Tensor:
        *found, inner = self.maps(images)
        for layer, beside in zip(reversed(self.up), reversed(found), strict=True):
            # enlarged by repetition, which fits any size and leaves no checkerboard (Odena et al. 2016)
            inner = layer(torch.cat([functional.interpolate(inner, size=beside.shape[2:]), beside], 1))
        return self.score(inner)
