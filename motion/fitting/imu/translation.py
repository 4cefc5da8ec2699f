"""Where the root goes: what bears on the floor stands still there, and the accelerometer tells what lies between.

A linear least-squares problem over all frames at once, solved a few times; each time it is judged anew which parts of the body bear:
those near the floor that hardly move (iteratively reweighted, with the weights of Geman & McClure's robust estimator).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.motion import inertial
from mprl.motion.body.joints import JOINTS
from mprl.motion.fitting.imu import pose, sensors
from mprl.motion.fitting.imu.signals import Signals

Array = NDArray[np.float64]
_SPEED, _ACCELERATION, _HEIGHT, _GUESS = 0.1, 1.0, 0.02, 0.5  # m/s, m/s², m, m/s: standard deviations
_NEAR, _SLOW = 0.05, 0.3  # m and m/s: what bears is nearer to the floor and slower
_ROUNDS = 6


class _Point(NamedTuple):
    """What may bear: a point on a joint's bone, so far ahead of the joint, and how thick the body is below it; None: down to the sole."""

    joint: str
    ahead: float
    radius: float | None


_POINTS = [_Point(f"{side}_{joint}", ahead, None) for side in ("left", "right") for joint, ahead in (("ankle", -0.04), ("foot", 0.04))]
_POINTS += [
    _Point(f"{side}_{joint}", 0.0, r) for side in ("left", "right") for joint, r in (("knee", 0.06), ("hand", 0.03), ("shoulder", 0.08))
]
_POINTS += [_Point("pelvis", 0.0, 0.11), _Point("head", 0.0, 0.1)]


def translate(
    given: Signals, world: Tensor, rest: Tensor, sole: float, contact: Tensor | None = None, velocity: Tensor | None = None
) -> Tensor:
    """The root's path, on the floor z = 0 and beginning at x = y = 0, (T, 3) m.

    Args:
        given: what the sensors say.
        world: rotations of all bones, (T, 24, 3, 3).
        rest: joints in the T-pose, (24, 3) m. sole: height of its soles in the same frame, m.
        contact: how likely the left and the right foot bear, (T, 2); None: not known.
        velocity: a guess of the root's velocity, (T, 3) m/s; None: none.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    joints = pose.positions(world, rest.to(world))
    points, radius = _points(world, joints, rest, sole)
    frames, rate, n = len(points), given.frame_rate, given.spacing
    first = sparse.diags([-np.ones(frames - 1), np.ones(frames - 1)], [0, 1], shape=(frames - 1, frames)) * rate
    speed = np.diff(points, axis=0) * rate  # relative to the root
    left, right = sparse.csc_matrix((frames, frames)), np.zeros((frames, 3))
    if frames > 2 * n:
        second = (
            sparse.diags(
                [np.ones(frames - 2 * n), -2 * np.ones(frames - 2 * n), np.ones(frames - 2 * n)],
                [0, n, 2 * n],
                shape=(frames - 2 * n, frames),
            )
            * (rate / n) ** 2
        )
        left = left + second.T @ second / _ACCELERATION**2
        right += second.T @ _root_acceleration(given, world, joints, rest)[n : frames - n] / _ACCELERATION**2
    if velocity is not None:
        guess = 0.5 * (velocity[1:] + velocity[:-1]).double().numpy()
        left = left + first.T @ first / _GUESS**2
        right += first.T @ guess / _GUESS**2
    left = left + sparse.diags([np.r_[1e-3, np.full(frames - 1, 1e-9)]], [0])  # it begins at 0
    likely = np.ones((frames - 1, len(_POINTS)))
    if contact is not None:
        likely[:, :4] = contact[1:].double().numpy().repeat(2, axis=1)
    height = points[..., 2] - radius
    bears = likely * np.exp(-(((height - height.min(axis=1, keepdims=True)) / 0.03) ** 2))[1:]
    for _ in range(_ROUNDS):
        total = bears.sum(axis=1)
        along = left + first.T @ sparse.diags(total) @ first / _SPEED**2
        wanted = right - first.T @ (bears[..., None] * speed).sum(axis=1) / _SPEED**2
        held = np.r_[total[:1], total] / _HEIGHT**2
        up = along + sparse.diags(held)
        down = np.r_[(bears[:1] * height[:1]).sum(axis=1), (bears * height[1:]).sum(axis=1)] / _HEIGHT**2
        root = np.column_stack((splu(along.tocsc()).solve(wanted[:, :2]), splu(up.tocsc()).solve(wanted[:, 2] - down)))
        moves = np.linalg.norm(np.diff(root, axis=0)[:, None] * rate + speed, axis=-1)
        above = np.maximum(0.0, (root[:, None, 2] + height)[1:])
        bears = likely / (1 + (moves / _SLOW) ** 2) ** 2 * np.exp(-((above / _NEAR) ** 2))
    root[:, :2] -= root[0, :2]
    return torch.as_tensor(root)


def _points(world: Tensor, joints: Tensor, rest: Tensor, sole: float) -> tuple[Array, Array]:
    """Points that may bear, relative to the root, (T, P, 3) m, and how thick the body is below each, (P,) m."""
    at = [JOINTS.index(point.joint) for point in _POINTS]
    down = [-float(rest[joint, 2]) + sole if point.radius is None else 0.0 for point, joint in zip(_POINTS, at, strict=True)]
    arm = world.new_tensor([[point.ahead, 0.0, low] for point, low in zip(_POINTS, down, strict=True)])
    places = joints[:, at] + (world[:, at] @ arm[:, :, None]).squeeze(-1)
    return places.double().numpy(), np.array([point.radius or 0.0 for point in _POINTS])


def _root_acceleration(given: Signals, world: Tensor, joints: Tensor, rest: Tensor) -> Array:
    """What is left of the accelerations when what they owe to the pose is taken away, (T, 3) m/s²: of the pelvis' sensor, or the mean."""
    names = ("pelvis",) if "pelvis" in given.sensors else given.sensors
    at = sensors.bones(names)
    place = sensors.places(rest, names).to(world)
    worn = joints[:, at] + (world[:, at] @ place.unsqueeze(-1)).squeeze(-1)
    felt = given.acceleration[:, [given.sensors.index(name) for name in names]]
    return (felt - inertial.second_difference(worn, given.frame_rate, given.spacing)).mean(dim=1).double().numpy()
