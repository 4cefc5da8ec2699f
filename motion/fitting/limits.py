"""How far people's joints go, as boxes of rotation vectors in our frame: x ahead, y to the left, z up in the T-pose.

Of the left side; the right one is its mirror image. From tables of joint mobility (about the 95th percentile), rounded: to make poses
within, not to judge them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.motion.body.joints import JOINTS
from mprl.perception.pose2d.layouts import other_side

# lowest and highest rotation about x, y, z, rad; "y" of a knee bends it, "z" of a left elbow is negative when it bends
_BOXES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "hip": ((-0.4, -2.2, -0.7), (0.8, 0.6, 0.8)),
    "knee": ((-0.1, 0.0, -0.2), (0.1, 2.5, 0.2)),
    "ankle": ((-0.4, -0.5, -0.4), (0.4, 0.8, 0.4)),
    "foot": ((-0.05, -0.6, -0.05), (0.05, 0.4, 0.05)),
    "spine1": ((-0.25, -0.2, -0.25), (0.25, 0.45, 0.25)),
    "spine2": ((-0.25, -0.2, -0.25), (0.25, 0.45, 0.25)),
    "spine3": ((-0.25, -0.2, -0.25), (0.25, 0.45, 0.25)),
    "neck": ((-0.4, -0.4, -0.6), (0.4, 0.5, 0.6)),
    "head": ((-0.3, -0.4, -0.6), (0.3, 0.5, 0.6)),
    "collar": ((-0.25, -0.15, -0.25), (0.3, 0.15, 0.25)),
    "shoulder": ((-1.6, -1.2, -2.0), (1.5, 1.2, 0.9)),
    "elbow": ((-0.6, -0.6, -2.4), (0.6, 0.6, 0.05)),
    "wrist": ((-1.0, -0.4, -0.9), (1.0, 0.4, 0.9)),
    "hand": ((-0.1, -0.1, -0.3), (0.1, 0.1, 0.3)),
}
MIRROR = torch.tensor([-1.0, 1.0, -1.0])  # of a rotation vector in the plane y = 0
# what SMPLify's limit is about: joint, axis, and the sign of the rotation that bends it the wrong way
HINGES = (("left_elbow", 2, 1.0), ("right_elbow", 2, -1.0), ("left_knee", 1, -1.0), ("right_knee", 1, -1.0))


def boxes(joints: int = 23) -> tuple[Tensor, Tensor]:
    """Lowest and highest rotation vectors of the joints after the pelvis, (joints, 3) rad each."""
    low, high = [], []
    for name in JOINTS[1 : joints + 1]:
        box = torch.tensor(_BOXES[name.removeprefix("left_").removeprefix("right_")])
        if name.startswith("right_"):
            box = (box * MIRROR).sort(dim=0).values
        low.append(box[0])
        high.append(box[1])
    return torch.stack(low), torch.stack(high)


def mirror(pose: Tensor) -> Tensor:
    """Poses as a mirror shows them, (..., J, 3) rotation vectors of the joints after the pelvis."""
    return pose[..., other_side(JOINTS[1 : pose.shape[-2] + 1]), :] * MIRROR.to(pose)
