"""Coordinates straight from the picture, refined by looking again around each of them (DeepPose: Toshev & Szegedy 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mprl.perception.encoders import layers
from mprl.perception.encoders.resnet import ResNet
from mprl.perception.network import Batch, Metrics, check_choice
from mprl.perception.pose2d.network import PoseNetwork

_LOOK = 24  # px along the side of what a stage sees around a keypoint
_LEAST, _MOST = 0.1, 0.5  # of the picture: the side of the piece that is looked at


class PoseRegression(PoseNetwork):
    """A residual network tells all keypoints at once; each further stage sees a piece of the picture around each and moves it.

    Args:
        shape: (channels, height, width).
        features: 3 K.
        width: channels of the first of three residual stages, each of which has twice as many as the one before.
        hidden: size of the layer before the coordinates.
        refinements: stages behind the first.
        reach: side of the piece around a keypoint, as a share of the person's extent in the picture as told by the stage before.
        spread: standard deviation of the places that a stage learns to move keypoints from, as a share of that piece.
        norm: "batch", "group" or "none".

    Raises:
        SettingError: a setting that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        width: int = 32,
        hidden: int = 256,
        refinements: int = 1,
        reach: float = 0.4,
        spread: float = 0.1,
        norm: str = "batch",
    ) -> None:
        super().__init__(shape, features)
        check_choice("norm", norm, layers.NORMS)
        self.reach, self.spread = reach, spread
        self.first = nn.Sequential(
            ResNet(shape, hidden, (width, 2 * width, 4 * width), norm=norm), nn.ReLU(), nn.Linear(hidden, 3 * self.points)
        )
        self.further = nn.ModuleList(_Look(self.channels, self.points, width, norm) for _ in range(refinements))

    def stages(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Keypoints (B, K, 2) of each stage, as shares of the picture, and logits (B, K) of being seen."""
        told = self.first(images).unflatten(1, (self.points, 3))
        stages = [told[..., :2] + 0.5]
        for look in self.further:
            stages.append(self._moved(look, images, stages[-1]))
        return stages, told[..., 2]

    def _moved(self, look: nn.Module, images: Tensor, places: Tensor) -> Tensor:
        side = self._side(places)
        return places + side[:, None, None] * look(_pieces(images, places, side))

    def _side(self, places: Tensor) -> Tensor:
        """Of the piece that is looked at, as a share of the picture, (B,)."""
        extent = (places.amax(1) - places.amin(1)).amax(-1).detach()
        return (self.reach * extent).clamp(_LEAST, _MOST)

    def estimate(self, images: Tensor) -> Tensor:
        stages, seen = self.stages(images)
        size = seen.new_tensor([self.width, self.height])
        return torch.cat([stages[-1] * size, seen.sigmoid()[..., None]], -1)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Metrics]:
        """Distance of each stage's keypoints in the picture, as a share of it, and cross-entropy of being seen.

        While learning, a further stage starts from true places that are off by chance, as in the paper, so that it need not wait for
        the first one to become good.
        """
        images, visible = batch["input"], batch["visible"]
        size = images.new_tensor([self.width, self.height])
        truth, counted = batch["keypoints"] / size, (visible > 0).float()

        def error(places: Tensor) -> Tensor:
            each = functional.smooth_l1_loss(places, truth, beta=0.05, reduction="none").sum(-1)
            return (each * counted).sum() / counted.sum().clamp(min=1)

        told = self.first(images).unflatten(1, (self.points, 3))
        places = told[..., :2] + 0.5
        seen = functional.binary_cross_entropy_with_logits(told[..., 2], (visible == 2).float())
        loss = error(places) + 0.02 * seen
        for look in self.further:
            start = places.detach()
            if self.training and generator is not None:
                off = self.spread * self._side(truth)[:, None, None]
                noisy = truth + off * torch.randn(truth.shape, generator=generator, device=truth.device)
                known = (torch.rand(len(truth), 1, 1, generator=generator, device=truth.device) < 0.5) & (visible > 0)[..., None]
                start = torch.where(known, noisy, start)
            places = self._moved(look, images, start)
            loss = loss + error(places)
        with torch.no_grad():
            return loss, self.judged(places * size, batch) if not self.training else {}


class _Look(nn.Module):
    """From pieces of a picture, one around each keypoint, to how far the keypoint is from their middles, as a share of their side."""

    def __init__(self, channels: int, points: int, width: int, norm: str) -> None:
        super().__init__()
        bias = norm == "none"
        self.see = nn.Sequential(
            nn.Conv2d(channels, width, 5, 2, 2, bias=bias), layers.norm(norm, width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), layers.norm(norm, 2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, 2, 1, bias=bias), layers.norm(norm, 2 * width), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        size = 2 * width * (_LOOK // 8) ** 2
        self.move = nn.Parameter(torch.zeros(points, size, 2))  # of each keypoint its own
        self.offset = nn.Parameter(torch.zeros(points, 2))

    def forward(self, pieces: Tensor) -> Tensor:
        """(B, K, C, s, s) -> (B, K, 2)."""
        seen = self.see(pieces.flatten(0, 1)).unflatten(0, pieces.shape[:2])
        return torch.einsum("bkf,kfd->bkd", seen, self.move) / seen.shape[-1] ** 0.5 + self.offset


def _pieces(images: Tensor, places: Tensor, side: Tensor) -> Tensor:
    """Squares around places, (B, K, C, s, s).

    Args:
        images: (B, C, H, W).
        places: middles as shares of the picture, (B, K, 2).
        side: as a share of the picture, (B,).
    """
    steps = ((torch.arange(_LOOK, device=images.device) + 0.5) / _LOOK - 0.5) * side[:, None]  # (B, s)
    x, y = places[..., 0, None] + steps[:, None], places[..., 1, None] + steps[:, None]  # (B, K, s)
    grid = torch.stack([x[:, :, None].expand(-1, -1, _LOOK, -1), y[..., None].expand(-1, -1, -1, _LOOK)], -1)
    found = functional.grid_sample(images, 2 * grid.flatten(1, 2) - 1, padding_mode="border", align_corners=False)
    return found.unflatten(2, (-1, _LOOK)).transpose(1, 2)
