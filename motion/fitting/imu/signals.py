"""What both ways of fitting start from: how the bones with sensors are turned, and how they accelerate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mprl.motion import inertial
from mprl.motion import rotations as rot
from mprl.motion.fitting.imu.readings import Readings

# s: accelerations are compared as second differences over twice this time, 4 frames at 60 Hz (Yi et al. 2021). Shorter ones drown in
# noise, longer ones smear a step.
HALF_WIDTH = 4 / 60


@dataclass(frozen=True)
class Signals:
    """Of S sensors, in float32.

    Attributes:
        sensors: names.
        rotation: of their bones in the world, (T, S, 4).
        acceleration: of the sensors, as second differences between frames `spacing` apart, (T, S, 3) m/s².
        frame_rate: Hz. spacing: frames.
    """

    sensors: tuple[str, ...]
    rotation: Tensor
    acceleration: Tensor
    frame_rate: float
    spacing: int


def signals(readings: Readings) -> Signals:
    """Of a recording, at its own rate."""
    acceleration, spacing = readings.free_accelerations(), readings.spacing
    if spacing == 1:
        spacing = max(1, round(HALF_WIDTH * readings.frame_rate))
        acceleration = inertial.triangle(acceleration, spacing)
    rotation = rot.continuous(readings.bone_rotations())
    return Signals(readings.sensors, rotation.float(), acceleration.float(), readings.frame_rate, spacing)


def resampled(given: Signals, frame_rate: float) -> Signals:
    """The same at another rate; as many seconds, to the nearest frame."""
    frames = len(given.rotation)
    if abs(given.frame_rate / frame_rate - 1) < 1e-3:
        return given
    count = int((frames - 1) * frame_rate / given.frame_rate + 1e-6) + 1
    at = (torch.arange(count, dtype=torch.float64) * given.frame_rate / frame_rate).clamp(max=frames - 1)
    low = at.long().clamp(max=frames - 2)
    share = (at - low).float()[:, None]
    return Signals(
        given.sensors,
        rot.slerp(given.rotation[low], given.rotation[low + 1], share),
        torch.lerp(given.acceleration[low], given.acceleration[low + 1], share[..., None]),
        frame_rate,
        max(1, round(given.spacing * frame_rate / given.frame_rate)),
    )
