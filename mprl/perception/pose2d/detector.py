"""A trained model of pose on pictures of any size: where people are in them, frame after frame.

    detector = Detector(Perception.load("eyes"))
    for people in detector.follow(frames):          # pictures (H, W, 3) uint8 -> (P, K, 3)
        ...

A model of one person needs the person to fill the picture. It looks at the whole first frame, then again and again closer at what it
found there, and in each further frame where the person was in the one before. Part-affinity fields see everybody in the whole frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mprl.errors import PerceptionError
from mprl.perception.plug import Perception
from mprl.perception.pose2d.network import PoseNetwork
from mprl.perception.pose2d.paf import PAF
from mprl.perception.pose2d.samples import around, back, cut

_SURE = 0.1  # of a keypoint's confidence, above which it tells where the person is
_ENOUGH = 5  # such keypoints make a person
_SHRINKS = 0.9  # from frame to frame, at most: feet that are missed once must not be cut off from then on
_LOOKS = 3  # closer and closer, at a frame without a person in the one before
_CLOSE = 1.5  # of the piece that is looked at over the box around keypoints, which hands, feet and hair stick out of


class Detector:
    """Finds people.

    Args:
        model: with a network of `mprl.perception.pose2d`.

    Raises:
        PerceptionError: it has another network.
    """

    def __init__(self, model: Perception) -> None:
        if not isinstance(model.network, PoseNetwork):
            raise PerceptionError(
                f"expected a model of 2-D pose (mprl pose train), found a {type(model.network).__name__}, which tells no keypoints"
            )
        self.model, self.network = model, model.network

    @torch.no_grad()
    def follow(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[Tensor]:
        """Everybody in each frame, (P, K, 3): x, y px and confidence; P is 0 or 1 with a model of one person."""
        box: Tensor | None = None
        for frame in frames:
            image = self.model.spec.prepare(torch.tensor(frame)[None])
            whole = image.new_tensor([[0.0, 0.0, frame.shape[1], frame.shape[0]]])
            if isinstance(self.network, PAF):
                yield self._look(image, whole, 1.0)
                continue
            seen = None if box is None else self._look(image, box, _CLOSE)
            box = None if seen is None else _box(seen[0], box)
            if seen is None or box is None:  # the first frame, or lost
                seen, box = self._approached(image, whole)
            yield image.new_zeros(0, self.network.points, 3) if box is None else seen

    def _approached(self, image: Tensor, whole: Tensor) -> tuple[Tensor, Tensor | None]:
        """One person found in the whole picture and looked at closer and closer, and the box around it, None if there is none."""
        seen = self._look(image, whole, 1.0)
        box = _box(seen[0])
        for _ in range(_LOOKS - 1):
            if box is not None:
                seen = self._look(image, box, _CLOSE)
                box = _box(seen[0])
        return seen, box

    def _look(self, image: Tensor, box: Tensor, margin: float) -> Tensor:
        """What the network finds in a piece of the picture around a box, in the picture's pixels."""
        size = self.network.height, self.network.width
        piece = around(box, *size, margin=margin)
        pixels = self._cut(image, piece)
        found = self.network.people(pixels)[0] if isinstance(self.network, PAF) else self.network.estimate(pixels)
        found = torch.cat([found[..., :2], found[..., 2:].clamp(0, 1)], -1)  # a heatmap's value may be above 1
        return back(found, piece, *size)

    def _cut(self, image: Tensor, piece: Tensor) -> Tensor:
        """A piece of a picture, of which pixels are averaged where many become one."""
        many = int(piece[0, 2])
        if many > 1:
            image, piece = functional.avg_pool2d(image, many, ceil_mode=True), piece / many
        return cut(image, piece, self.network.height, self.network.width)


def _box(keypoints: Tensor, before: Tensor | None = None) -> Tensor | None:
    """Around the keypoints (K, 3) that are sure, (1, 4): left, top, width, height; None where there are too few."""
    sure = keypoints[keypoints[:, 2] > _SURE, :2]
    if len(sure) < _ENOUGH:
        return None
    low, high = sure.amin(0), sure.amax(0)
    size = (high - low).clamp(min=4.0)
    if before is not None:
        size = torch.maximum(size, _SHRINKS * before[0, 2:])
    return torch.cat([(low + high - size) / 2, size])[None]
