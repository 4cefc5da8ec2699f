"""Pinhole cameras: from points in the world to pixels.

A camera's axes are x to the right, y down and z ahead. The world is ours, z up.

    [{"focal": 900, "center": [640, 360], "rotation": [[...], [...], [...]], "translation": [0, 1.2, 4.0]}]

is a file of cameras, one for each view: p = rotation x + translation takes a point of the world into the camera.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mprl.errors import MotionFormatError, SettingError
from mprl.motion.formats.files import write_atomically
from mprl.perception.pose2d.formats.detections import read_json

# a camera at the world's origin that looks along +x: its x, y and z axes are -y, -z and +x of the world
LEVEL = ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0))
_NEAR = 0.05  # m: nearer points, and those behind, are drawn as if they were there


@dataclass(frozen=True)
class Cameras:
    """One camera for each view.

    Attributes:
        focal: (V,) px.
        centre: of the picture, where the axis goes through, (V, 2) px.
        rotation: from the world to the camera, (V, 3, 3).
        translation: (V, 3) m.
    """

    focal: Tensor
    centre: Tensor
    rotation: Tensor
    translation: Tensor

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (V, ..., 2) and depths (V, ...) m of points (..., 3) m."""
        flat = points.reshape(-1, 3)
        across, depth = (self.rotation @ flat.T + self.translation.unsqueeze(-1)).split((2, 1), dim=1)  # (V, 2, N) and (V, 1, N)
        pixels = self.focal[:, None, None] * across / depth.clamp(min=_NEAR) + self.centre.unsqueeze(-1)
        return pixels.transpose(1, 2).unflatten(1, points.shape[:-1]), depth.squeeze(1).unflatten(1, points.shape[:-1])

    def __len__(self) -> int:
        return len(self.focal)


def level(image_size: tuple[int, int], focal: float | None = None) -> Cameras:
    """A camera at the origin that looks along +x, for a single view of which nothing else is known.

    Args:
        image_size: px.
        focal: px; by default the picture's diagonal (a view of 53 degrees from corner to corner).
    """
    width, height = image_size
    return Cameras(
        torch.tensor([focal or math.hypot(width, height)]),
        torch.tensor([[0.5 * width, 0.5 * height]]),
        torch.tensor([LEVEL]),
        torch.zeros(1, 3),
    )


def looking_at(
    target: Sequence[float],
    azimuth: float,
    elevation: float,
    distance: float,
    focal: float,
    image_size: tuple[int, int],
) -> Cameras:
    """A camera whose axis goes through a point.

    Args:
        target: (3,) m.
        azimuth, elevation: where it looks, degrees, as in MuJoCo: 90 looks along +y, an elevation of -90 straight down.
        distance: m.
        focal: px.
        image_size: px.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    ahead = torch.tensor([math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)])
    right = torch.tensor([math.sin(a), -math.cos(a), 0.0])
    rotation = torch.stack((right, torch.linalg.cross(ahead, right), ahead))
    eye = torch.tensor([float(x) for x in target]) - distance * ahead
    width, height = image_size
    return Cameras(torch.tensor([float(focal)]), torch.tensor([[0.5 * width, 0.5 * height]]), rotation[None], -(rotation @ eye)[None])


def together(cameras: Sequence[Cameras]) -> Cameras:
    """Cameras of several views as one."""
    return Cameras(*(torch.cat([getattr(one, key) for one in cameras]) for key in ("focal", "centre", "rotation", "translation")))


def read(path: str | Path) -> Cameras:
    """A file of cameras, as described above.

    Raises:
        MotionFormatError: names the view and what is wrong with it.
    """
    path = Path(path)
    content = read_json(path)
    views = content if isinstance(content, list) else [content]
    found = []
    for view, one in enumerate(views):
        arrays = []
        for key, shape in (("focal", ()), ("center", (2,)), ("rotation", (3, 3)), ("translation", (3,))):
            try:
                array = np.asarray(one[key], dtype=np.float64)
            except (KeyError, TypeError, ValueError, OverflowError):
                raise MotionFormatError(f'{path}, view {view}: expected "{key}" as numbers') from None
            if array.shape != shape or not np.isfinite(array).all():
                raise MotionFormatError(f'{path}, view {view}: "{key}" must be finite and of shape {shape}, found shape {array.shape}')
            arrays.append(torch.as_tensor(array, dtype=torch.float32)[None])
        if not float(arrays[0]) > 0:
            raise MotionFormatError(f'{path}, view {view}: "focal" must be positive, found {float(arrays[0]):g}')
        turn = arrays[2][0].double()
        if (turn @ turn.T - torch.eye(3, dtype=torch.float64)).abs().max() > 1e-3 or torch.linalg.det(turn) < 0:
            raise MotionFormatError(f'{path}, view {view}: "rotation" must be a rotation matrix (orthonormal, determinant 1)')
        found.append(Cameras(*arrays))
    if not found:
        raise MotionFormatError(f"{path}: holds no cameras")
    return together(found)


def write(cameras: Cameras, path: str | Path) -> Path:
    """Write such a file."""
    views = [
        {"focal": float(f), "center": c.tolist(), "rotation": r.tolist(), "translation": t.tolist()}
        for f, c, r, t in zip(cameras.focal, cameras.centre, cameras.rotation, cameras.translation, strict=True)
    ]
    return write_atomically(Path(path), lambda file: file.write(json.dumps(views, indent=1).encode()))


def check_views(cameras: Cameras | None, views: int, name: str) -> None:
    """Raise a `SettingError` unless there is a camera for each view; a single view needs none."""
    if cameras is None and views > 1:
        raise SettingError(f"{name}: {views} views need to know where the cameras are; give --cameras FILE")
    if cameras is not None and len(cameras) != views:
        raise SettingError(f"{name}: {views} views, but {len(cameras)} cameras")
