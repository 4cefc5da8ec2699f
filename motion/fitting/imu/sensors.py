"""The six sensors, what bones they are on, and where on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mprl.motion.body.joints import JOINTS, PARENTS


class Worn(NamedTuple):
    """Where a sensor is worn: on the bone that a joint of SMPL's moves, so far towards the next joint, and so far off that line."""

    bone: str
    towards: str
    share: float
    off: tuple[float, float, float]  # m, in our frame at rest: ahead, left, up


# in the order of DIP and TransPose
SENSORS = {
    "left_forearm": Worn("left_elbow", "left_wrist", 0.8, (0.0, 0.0, 0.02)),
    "right_forearm": Worn("right_elbow", "right_wrist", 0.8, (0.0, 0.0, 0.02)),
    "left_shank": Worn("left_knee", "left_ankle", 0.3, (0.05, 0.0, 0.0)),
    "right_shank": Worn("right_knee", "right_ankle", 0.3, (0.05, 0.0, 0.0)),
    "head": Worn("head", "head", 0.0, (-0.05, 0.0, 0.12)),
    "pelvis": Worn("pelvis", "pelvis", 0.0, (-0.12, 0.0, 0.0)),
}
NAMES = tuple(SENSORS)
# in whose frame others are told: of these the first that is worn
REFERENCE = ("pelvis", "head", "left_shank", "right_shank", "left_forearm", "right_forearm")


def bones(names: tuple[str, ...] = NAMES) -> list[int]:
    """Numbers of the joints whose bones the sensors are on."""
    return [JOINTS.index(SENSORS[name].bone) for name in names]


def places(rest_joints: Tensor, names: tuple[str, ...] = NAMES) -> Tensor:
    """Where on its bone each sensor is, in the bone's frame, (..., S, 3) m.

    Args:
        rest_joints: in our frame, in the T-pose that faces x, (..., 24, 3) m.
        names: of the sensors.
    """
    at = bones(names)
    end = [JOINTS.index(SENSORS[name].towards) for name in names]
    share = rest_joints.new_tensor([[SENSORS[name].share] for name in names])
    off = rest_joints.new_tensor([SENSORS[name].off for name in names])
    return share * (rest_joints[..., end, :] - rest_joints[..., at, :]) + off


def reference(worn: Sequence[str]) -> str:
    """The sensor in whose frame the others are told."""
    return next(name for name in REFERENCE if name in worn)


def places_of(offsets: Tensor, names: tuple[str, ...] = NAMES) -> Tensor:
    """The same from a skeleton's offsets, (24, 3) m."""
    rest = [torch.zeros(3, dtype=offsets.dtype)]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        rest.append(rest[parent] + offsets[joint])
    return places(torch.stack(rest), names)
