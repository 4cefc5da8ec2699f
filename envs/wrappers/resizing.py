"""Frames as small pictures: cut out, averaged over areas, grey if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mprl.errors import SettingError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Picture:
    """What is made of a frame.

    Attributes:
        height, width: pixels.
        crop: (left, top, right, bottom) of the part of the frame that is kept, pixels of the frame; None: all of it.
        grey: one channel of brightness (ITU-R BT.601) in place of red, green and blue.
    """

    height: int
    width: int
    crop: tuple[int, int, int, int] | None = None
    grey: bool = False

    @classmethod
    def of(cls, size: int | Sequence[int], crop: Sequence[int] | None = None, grey: bool = False) -> Picture:
        """From a size, side of a square or (height, width), and a box.

        Raises:
            SettingError: a size or a box that cannot be.
        """
        sides: list[Any] = list(size) if isinstance(size, Sequence) else [size, size]
        if len(sides) != 2 or not all(_whole(side) and side > 0 for side in sides):
            raise SettingError(f"size must be pixels or (height, width), found {str(size)[:60]!r}")
        box: Any = None
        if crop is not None:
            box = tuple(crop) if isinstance(crop, Sequence) else ()
            if len(box) != 4 or not all(_whole(x) for x in box) or not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
                raise SettingError(f"crop must be (left, top, right, bottom) in pixels of the frame, found {str(crop)[:60]!r}")
        return cls(int(sides[0]), int(sides[1]), box, bool(grey))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, 1 if self.grey else 3

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A frame, (H, W, 3) uint8, as this picture, `shape`, uint8.

        Raises:
            SettingError: no such frame, or the box reaches beyond it.
        """
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            found = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise SettingError(f"a frame must be uint8 of shape (height, width, 3), found {found}")
        return self.coloured(shrink(self.cut(frame), self.height, self.width))

    def cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of a frame, or of anything indexed by row and column, that is kept."""
        if self.crop is None:
            return frame
        left, top, right, bottom = self.crop
        if bottom > frame.shape[0] or right > frame.shape[1]:
            raise SettingError(f"crop {self.crop} reaches beyond the frame of {frame.shape[1]} x {frame.shape[0]} pixels")
        return frame[top:bottom, left:right]

    def coloured(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture of the right size, (height, width, 3), in this picture's colours."""
        if not self.grey:
            return picture
        return np.rint(picture @ np.array(_LUMA, np.float32)).astype(np.uint8)[..., None]


def shrink(frame: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A frame, (H, W, 3), averaged over areas to (height, width, 3).

    Where the sides are no multiples of the new ones, each pixel counts to the area that its centre lies in.
    """
    if frame.shape[:2] == (height, width):
        return np.ascontiguousarray(frame)
    image = Image.fromarray(np.ascontiguousarray(frame))
    down, rest = divmod(frame.shape[0], height)
    across, beside = divmod(frame.shape[1], width)
    if rest or beside:
        return np.asarray(image.resize((width, height), Image.Resampling.BOX))
    return np.asarray(image.reduce((across, down)))  # the same, faster


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
