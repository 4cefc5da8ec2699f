"""A pinhole camera: where points of the world are in the picture, and where pixels look."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in our world, z up.

    Attributes:
        position: (3,) m.
        rotation: from the world to the camera, (3, 3): its rows are right, down and ahead.
        focal: length, px.
        centre: where the axis meets the picture, (2,) px; the picture's upper left corner is (0, 0).
    """

    position: Array
    rotation: Array
    focal: float
    centre: tuple[float, float]

    def project(self, points: Array) -> tuple[Array, Array]:
        """Points of the world (..., 3) m in the picture: (..., 2) px, and their depth along the axis (...) m, negative behind."""
        seen = (points - self.position) @ self.rotation.T
        depth = seen[..., 2]
        places = self.focal * seen[..., :2] / np.where(depth == 0, 1e-9, depth)[..., None] + np.asarray(self.centre)
        return places.astype(np.float32), depth.astype(np.float32)

    def rays(self, height: int, width: int) -> Array:
        """Where pixels look, (H, W, 3): directions in the world whose part along the axis is 1."""
        rows, columns = np.mgrid[:height, :width].astype(np.float32) + 0.5
        across, down = (columns - self.centre[0]) / self.focal, (rows - self.centre[1]) / self.focal
        return np.stack([across, down, np.ones_like(across)], axis=-1) @ self.rotation

    def framed(self, points: Array, height: int, width: int, fill: float, shift: tuple[float, float] = (0.0, 0.0)) -> Camera:
        """The same view, enlarged and moved in the picture, as when it is cropped.

        Args:
            points: what is to be seen, (N, 3) m, all in front of the camera.
            height, width: of the picture, px.
            fill: share of the picture that their bounding box takes along its longer side.
            shift: of the box's middle from the picture's, as a share of the picture.
        """
        seen, _ = self.project(points)
        low, high = seen.min(axis=0), seen.max(axis=0)
        size = np.array([width, height], np.float32)
        scale = fill / ((high - low) / size).max()
        middle = size * (0.5 + np.asarray(shift)) - scale * (low + high) / 2
        return replace(self, focal=float(scale * self.focal), centre=tuple((scale * np.asarray(self.centre) + middle).tolist()))

    def scaled(self, factor: float) -> Camera:
        """The same picture of `factor` times as many pixels along each side."""
        return replace(self, focal=factor * self.focal, centre=(factor * self.centre[0], factor * self.centre[1]))


def looking_at(point: Array, azimuth: float, elevation: float, distance: float, roll: float = 0.0) -> Camera:
    """A camera with a focal length of 1 px around a point.

    Args:
        point: that it looks at, (3,) m.
        azimuth: of the camera seen from there, rad; 0 is along +x.
        elevation: of the camera above it, rad.
        distance: m.
        roll: of the picture about the axis, rad.
    """
    outward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    down = -np.cross(outward, right)
    turned = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    rotation = np.stack([*turned, -outward]).astype(np.float32)
    return Camera((np.asarray(point) + distance * outward).astype(np.float32), rotation, 1.0, (0.0, 0.0))
