"""What inertial sensors feel: shared by the sensors of simulated characters and by readings simulated from motions."""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.motion import rotations as rot

GRAVITY = (0.0, 0.0, -9.81)


def specific_force(rotation: Tensor, acceleration: Tensor, gravity: Tensor) -> Tensor:
    """What an accelerometer feels, a - g seen along its axes: 9.81 m/s² upwards at rest, 0 in free fall, (..., 3) m/s².

    Args:
        rotation: of the sensor in the world, (..., 4).
        acceleration: of the sensor, (..., 3) m/s², world.
        gravity: g, (..., 3) m/s², world.
    """
    return rot.rotate(rot.conjugate(rotation), acceleration - gravity)


def free_acceleration(rotation: Tensor, force: Tensor, gravity: Tensor) -> Tensor:
    """The inverse: the acceleration in the world, without gravity, of a specific force along the sensor's axes, (..., 3) m/s²."""
    return rot.rotate(rotation, force) + gravity


def random_turn(axis: Tensor, angle: Tensor, deviation: float) -> Tensor:
    """The error of an orientation, as a rotation vector (..., 3) rad, from numbers of a standard normal distribution.

    Args:
        axis: (..., 3), of which only the direction counts. angle: (..., 1). deviation: standard deviation of the angle, rad.
    """
    return rot.unit(axis) * deviation * angle


def second_difference(position: Tensor, frame_rate: float, spacing: int = 1) -> Tensor:
    """Acceleration (x[t-n] + x[t+n] - 2 x[t]) / (n dt)² along dimension 0, (T, ...) m -> (T, ...) m/s² (Yi et al. 2021, n = 4).

    The first and last n frames, which lack a neighbour, take the nearest value that there is.

    Args:
        position: T > 2 n frames.
        frame_rate: Hz.
        spacing: n.
    """
    n = spacing
    middle = (position[: -2 * n] + position[2 * n :] - 2.0 * position[n:-n]) * (frame_rate / n) ** 2
    return torch.cat((middle[:1].expand(n, *middle.shape[1:]), middle, middle[-1:].expand(n, *middle.shape[1:])))


def triangle(acceleration: Tensor, spacing: int) -> Tensor:
    """The mean over neighbours with weights (n - |k|) / n², along dimension 0, (T, ...).

    It makes of second differences between next frames exactly those with a spacing of n, so that what an accelerometer felt can be held
    against positions n frames apart, and its noise becomes smaller. At the ends the nearest value is taken for those beyond.
    """
    n = spacing
    if n == 1:
        return acceleration
    frames = len(acceleration)
    first, last = acceleration[:1], acceleration[-1:]
    longer = torch.cat((first.expand(n - 1, *first.shape[1:]), acceleration, last.expand(n - 1, *last.shape[1:])))
    return sum(((n - abs(k)) / n**2 * longer[n - 1 + k : n - 1 + k + frames] for k in range(1 - n, n)), torch.zeros_like(acceleration))
