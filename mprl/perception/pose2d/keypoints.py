"""Keypoints of one person over time, seen from one camera or several: what every detector's output is brought to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mprl.errors import PerceptionError
from mprl.perception.pose2d import layouts

Array = NDArray[np.float32]
_OUTSIDE = 0.05  # of the keypoints: detectors go on a little where a person leaves the picture


@dataclass(frozen=True)
class Keypoints:
    """Where one person's keypoints are in pictures. Immutable: its arrays are read-only.

    Attributes:
        positions: (views, T, K, 2) px, float32; x to the right and y down from the picture's upper left corner. 0 where not seen.
        confidence: (views, T, K) in [0, 1]; 0 is not seen.
        layout: which keypoint is which: a name of `layouts.LAYOUTS`.
        image_size: width and height of each view's pictures, px.
        frame_rate: Hz, of all views, which show the same moments.
        name: for messages.

    Raises:
        PerceptionError: shapes that do not fit, an image size or frame rate that is not positive, a seen keypoint that is not finite.
        UnknownNameError: no such layout.
    """

    positions: Array
    confidence: Array
    layout: str
    image_size: tuple[tuple[int, int], ...]
    frame_rate: float
    name: str = "keypoints"

    def __post_init__(self) -> None:
        positions, confidence = (np.array(x, dtype=np.float32) for x in (self.positions, self.confidence))
        count = len(layouts.points(self.layout))
        if positions.ndim != 4 or positions.shape[2:] != (count, 2) or confidence.shape != positions.shape[:3] or 0 in positions.shape:
            raise PerceptionError(
                f"{self.name}: expected positions (views, frames, {count}, 2) and confidence (views, frames, {count}) of {self.layout}, "
                f"found {positions.shape} and {confidence.shape}"
            )
        sizes = tuple((int(width), int(height)) for width, height in self.image_size)
        if len(sizes) != len(positions):
            raise PerceptionError(f"{self.name}: expected an image size for each of {len(positions)} views, found {len(sizes)}")
        for width, height in sizes:
            if not (width > 0 and height > 0):
                raise PerceptionError(f"{self.name}: the image size must be positive, found {width} x {height}")
        if not (np.isfinite(self.frame_rate) and self.frame_rate > 0):
            raise PerceptionError(f"{self.name}: the frame rate must be positive, found {self.frame_rate}")
        for wrong, what in (
            (~((confidence >= 0) & (confidence <= 1)), "confidence must be within 0 and 1"),
            (~np.isfinite(positions).all(axis=-1) & ~(confidence <= 0), "a seen keypoint must have finite coordinates"),
        ):
            if wrong.any():
                view, frame, point = (int(i) for i in np.argwhere(wrong)[0])
                found = confidence[view, frame, point] if "confidence" in what else positions[view, frame, point].tolist()
                at = f"view {view}, " if len(positions) > 1 else ""
                name = layouts.points(self.layout)[point]
                raise PerceptionError(f"{self.name}, {at}frame {frame}, '{name}': {what}, found {found}")
        positions[confidence == 0] = 0.0
        positions.flags.writeable = confidence.flags.writeable = False
        for key, value in (("positions", positions), ("confidence", confidence), ("image_size", sizes)):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "frame_rate", float(self.frame_rate))

    def doubts(self) -> list[str]:
        """A line for each view of which more than a few keypoints are outside the picture: the image size may be another's."""
        lines = []
        for view, (width, height) in enumerate(self.image_size):
            seen = self.positions[view][self.confidence[view] > 0]
            outside = ((seen < 0) | (seen > (width, height))).any(axis=-1).mean() if len(seen) else 0.0
            if outside > _OUTSIDE:
                (left, top), (right, bottom) = seen.min(axis=0), seen.max(axis=0)
                lines.append(
                    f"{f'view {view}: ' if self.num_views > 1 else ''}{100 * outside:.0f} % of the keypoints are outside pictures of "
                    f"{width} x {height}: they reach x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}; is the image size right?"
                )
        return lines

    @property
    def num_views(self) -> int:
        """How many cameras."""
        return len(self.positions)

    @property
    def num_frames(self) -> int:
        """T."""
        return self.positions.shape[1]


def together(views: Sequence[Keypoints]) -> Keypoints:
    """Several views of the same moments as one.

    Raises:
        PerceptionError: they differ in layout, frames or frame rate.
    """
    first = views[0]
    for other in views[1:]:
        for what in ("layout", "num_frames", "frame_rate"):
            ours, theirs = getattr(first, what), getattr(other, what)
            if ours != theirs:
                raise PerceptionError(
                    f"{first.name} and {other.name} must have the same {what.replace('_', ' ')}, found {ours} and {theirs}"
                )
    return Keypoints(
        np.concatenate([view.positions for view in views]),
        np.concatenate([view.confidence for view in views]),
        first.layout,
        sum((view.image_size for view in views), ()),
        first.frame_rate,
        first.name if len(views) == 1 else f"{first.name} and {len(views) - 1} more",
    )
