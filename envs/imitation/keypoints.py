"""Keypoints of a character: joints in space, and in the picture of a pinhole camera, with the faults of a detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mprl.envs.imitation import observations
from mprl.envs.imitation.sensor import Worlds, body_ids, choice, finite, non_negative
from mprl.errors import SettingError, number
from mprl.motion import rotations as rot

_FRAMES = ("heading", "root", "world")
_HIDDEN = 0.15  # m: what is nearer to the camera than a joint by less than this is the joint's own limb


@dataclass(frozen=True)
class Keypoints3dSettings:
    """Which joints, seen from where, and how well.

    Attributes:
        bodies: whose joints (the origin of a body is the joint that moves it); by default all.
        frame: "heading" (from the point on the ground below the root, turned by the yaw), "root" or "world".
        noise: standard deviation along each axis, m. dropout: probability that a keypoint is missed, each step anew.
    """

    bodies: Sequence[str] | None = None
    frame: str = "heading"
    noise: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        choice("frame of keypoints_3d", self.frame, _FRAMES)
        non_negative("keypoints_3d", self, ("noise", "dropout"))
        _check_share("keypoints_3d", self.dropout)


@dataclass(frozen=True)
class Keypoints2dSettings:
    """Which joints, the camera, and how well it is read.

    Attributes:
        bodies: as of `Keypoints3dSettings`.
        width, height: of the picture, pixels. fovy: vertical field of view, degrees.
        lookat: what is in the middle of the picture, (3,) m in the world; by default the camera comes along and looks at the point
            .9 m above the ground below the root.
        azimuth, elevation: where the camera looks, degrees, as in MuJoCo: 90 looks along +y, an elevation of -90 straight down.
        distance: from the camera to that point, m.
        noise: standard deviation, pixels. dropout: probability that a keypoint is missed, each step anew.
        occlusion: miss what a limb or the terrain hides, by a ray for each keypoint.
    """

    bodies: Sequence[str] | None = None
    width: int = 256
    height: int = 256
    fovy: float = 45.0
    lookat: Sequence[float] | None = None
    azimuth: float = 90.0
    elevation: float = -10.0
    distance: float = 3.5
    noise: float = 0.0
    dropout: float = 0.0
    occlusion: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            number(f"keypoints_2d: {name}", getattr(self, name), 1, whole=True)
        finite("keypoints_2d", self, ("azimuth", "elevation"))
        non_negative("keypoints_2d", self, ("fovy", "distance", "noise", "dropout"))
        _check_share("keypoints_2d", self.dropout)
        if not (0 < self.fovy < 180 and self.distance > 0):
            found = f"fovy={self.fovy}, distance={self.distance}"
            raise SettingError(f"keypoints_2d: fovy must be within 0 and 180 degrees and distance above 0 m, found {found}")
        if self.lookat is not None and not _is_point(self.lookat):
            raise SettingError(f"keypoints_2d: lookat must be three coordinates, m, or None, found {self.lookat!r}")


def _is_point(value: Any) -> bool:
    if not isinstance(value, Sequence) or len(value) != 3:
        return False
    return all(isinstance(x, int | float) and math.isfinite(x) for x in value)


def _check_share(sensor: str, dropout: float) -> None:
    if dropout > 1:
        raise SettingError(f"{sensor}: dropout must be a probability in 0 to 1, found {dropout}")


def camera_axes(azimuth: float, elevation: float) -> Tensor:
    """The right, up and forward directions of a level camera, (3, 3), from its angles in degrees (MuJoCo's free camera)."""
    a, e = math.radians(azimuth), math.radians(elevation)
    forward = (math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e))
    right = (math.sin(a), -math.cos(a), 0.0)
    up = (-math.cos(a) * math.sin(e), -math.sin(a) * math.sin(e), math.cos(e))
    return torch.tensor((right, up, forward))


def project(points: Tensor, eye: Tensor, axes: Tensor, fovy: float, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Where points are in a pinhole camera's picture.

    Args:
        points: (W, K, 3) m, world. eye: where the camera is, (W, 3) m. axes: right, up and forward, (3, 3).
        fovy: vertical field of view, degrees. width, height: pixels.

    Returns:
        Pixels (W, K, 2), x to the right and y down from the picture's upper left corner, whose middle is (width / 2, height / 2); and
        depth along the camera's axis, (W, K) m. Behind the camera, at a depth of 0 or less, pixels mean nothing.
    """
    right, up, depth = ((points - eye.unsqueeze(1)) @ axes.T).unbind(-1)
    focal = 0.5 * height / math.tan(0.5 * math.radians(fovy))  # pixels
    safe = depth.clamp(min=1e-6)
    return torch.stack((0.5 * width + focal * right / safe, 0.5 * height - focal * up / safe), dim=-1), depth


class _Faults:
    """Noise and misses of keypoints, drawn once a step."""

    def __init__(self, settings: Any, worlds: int, count: int, size: int, device: torch.device) -> None:
        self._noise, self._dropout = settings.noise, settings.dropout
        self.state: dict[str, Tensor] = {}
        if self._noise:
            self.state["noise"] = torch.zeros(worlds, count, size, device=device)
        if self._dropout:
            self.state["missed"] = torch.zeros(worlds, count, dtype=torch.bool, device=device)

    def draw(self, random: torch.Generator, mask: Tensor | None = None) -> None:
        for name, value in self.state.items():
            make = torch.randn if name == "noise" else torch.rand
            drawn = make(value.shape, generator=random, device=random.device)
            drawn = self._noise * drawn if name == "noise" else drawn < self._dropout
            value.copy_(drawn if mask is None else torch.where(mask.view(-1, *[1] * (value.ndim - 1)), drawn, value))

    def on(self, points: Tensor, seen: Tensor, worlds: slice | Tensor) -> Tensor:
        """Keypoints as they are told: coordinates and 1, or zeros where one is not seen, (W, K, size + 1)."""
        if self._noise:
            points = points + self.state["noise"][worlds]
        if self._dropout:
            seen = seen & ~self.state["missed"][worlds]
        return torch.cat((points, torch.ones_like(points[..., :1])), dim=-1).masked_fill(~seen.unsqueeze(-1), 0.0)


class Keypoints3d:
    """Joints in space, (keypoints, 4): x, y, z in m, and 1; zeros where one is missed.

    Args:
        settings: see there.
        worlds: whose joints.

    Raises:
        UnknownNameError: no such body.
    """

    Settings: ClassVar[type[Any]] = Keypoints3dSettings

    def __init__(self, settings: Keypoints3dSettings, worlds: Worlds) -> None:
        self._frame, self._ground = settings.frame, worlds.ground
        simulation = worlds.simulation
        ids = body_ids(settings.bodies if settings.bodies is not None else worlds.character.body_names, worlds.character)
        self._bodies = torch.tensor(ids, device=simulation.device)
        self._xpos, self._xquat = simulation.bind("xpos"), simulation.bind("xquat")
        self._faults = _Faults(settings, simulation.num_worlds, len(ids), 3, simulation.device)
        self.shape = (len(ids), 4)

    def state(self) -> dict[str, Tensor]:
        return self._faults.state

    def reset(self, mask: Tensor, random: torch.Generator) -> None:
        self._faults.draw(random, mask)

    def advance(self, random: torch.Generator) -> None:
        self._faults.draw(random)

    def read(self, worlds: slice | Tensor) -> Tensor:
        points = self._xpos[worlds].index_select(1, self._bodies).float()
        root, turned = self._xpos[worlds, 1].float(), self._xquat[worlds, 1].float()
        if self._frame == "root":
            points = rot.rotate(rot.conjugate(turned).unsqueeze(1), points - root.unsqueeze(1))
        elif self._frame == "heading":
            below = torch.cat((root[:, :2], self._ground.guide(root)[0].unsqueeze(-1)), dim=-1)
            points = observations.to_heading_frame(points - below.unsqueeze(1), observations.heading_of(turned))
        return self._faults.on(points, torch.ones_like(points[..., 0], dtype=torch.bool), worlds)


class Keypoints2d:
    """Joints in a picture, (keypoints, 3): x to the right and y down in pixels, and 1; zeros where one is not seen.

    Not seen is what is behind the camera, outside of the picture, missed, or with `occlusion` hidden. Fast to have: nothing is drawn.

    Args:
        settings: see there.
        worlds: whose joints.

    Raises:
        UnknownNameError: no such body.
    """

    Settings: ClassVar[type[Any]] = Keypoints2dSettings
    tracked_height = 0.9  # m above the ground

    def __init__(self, settings: Keypoints2dSettings, worlds: Worlds) -> None:
        self._settings, self._ground, self._simulation = settings, worlds.ground, worlds.simulation
        device = self._simulation.device
        ids = body_ids(settings.bodies if settings.bodies is not None else worlds.character.body_names, worlds.character)
        self._bodies = torch.tensor(ids, device=device)
        self._xpos = self._simulation.bind("xpos")
        self._axes = camera_axes(settings.azimuth, settings.elevation).to(device)
        self._lookat = None if settings.lookat is None else torch.tensor([float(x) for x in settings.lookat], device=device)
        self._picture = torch.tensor([settings.width, settings.height], device=device)
        self._faults = _Faults(settings, self._simulation.num_worlds, len(ids), 2, device)
        self.shape = (len(ids), 3)

    def state(self) -> dict[str, Tensor]:
        return self._faults.state

    def reset(self, mask: Tensor, random: torch.Generator) -> None:
        self._faults.draw(random, mask)

    def advance(self, random: torch.Generator) -> None:
        self._faults.draw(random)

    def read(self, worlds: slice | Tensor) -> Tensor:
        settings = self._settings
        everyone = slice(None) if settings.occlusion else worlds  # rays are cast in all worlds
        points = self._xpos[everyone].index_select(1, self._bodies).float()
        eye = self._eye(everyone)
        pixels, depth = project(points, eye, self._axes, settings.fovy, settings.width, settings.height)
        seen = (depth > 0) & ((pixels >= 0) & (pixels < self._picture)).all(dim=-1)
        if settings.occlusion:
            away = points - eye.unsqueeze(1)
            distance = away.norm(dim=-1)
            hit = self._simulation.ray(eye.unsqueeze(1).expand_as(away).contiguous(), away / distance.unsqueeze(-1)).float()
            seen &= (hit < 0) | (hit > distance - _HIDDEN)
            pixels, seen = pixels[worlds], seen[worlds]
        return self._faults.on(pixels, seen, worlds)

    def _eye(self, worlds: slice | Tensor) -> Tensor:
        """Where the camera is, (W, 3) m."""
        root = self._xpos[worlds, 1].float()
        if self._lookat is None:
            lookat = torch.cat((root[:, :2], (self._ground.guide(root)[0] + self.tracked_height).unsqueeze(-1)), dim=-1)
        else:
            lookat = self._lookat.expand_as(root)
        return lookat - self._settings.distance * self._axes[2]
