"""SMPL's 24 joints, and the step between its frame and ours.

SMPL's rest pose is a T-pose with y up, facing +z, the left arm along +x. Ours faces +x with z up: (x, y, z) of SMPL is
(z, x, y) here, a rotation that only renames axes. A `MotionClip` of SMPL's joints holds rotations in our frame, so that all
identities are the T-pose that faces +x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.motion import rotations as rot

JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3",
    "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)


def from_smpl(vectors: Tensor) -> Tensor:
    """Points, directions or rotation vectors of SMPL's frame in ours, (..., 3)."""
    return vectors[..., [2, 0, 1]]


def to_smpl(vectors: Tensor) -> Tensor:
    """Points, directions or rotation vectors of our frame in SMPL's, (..., 3)."""
    return vectors[..., [1, 2, 0]]


def pose_to_rotations(pose: Tensor) -> Tensor:
    """SMPL's axis-angle pose as rotations in our frame, (..., J, 3) rad -> (..., J, 4) wxyz.

    The root's too: a body that stands upright in SMPL's y-up world stands upright in our z-up one. Data whose world is z-up already
    (AMASS: the root's rotation also lifts the body from y-up to z-up) need `root_of_z_up_world` for the root instead.
    """
    return rot.from_rotation_vector(from_smpl(pose))


def rotations_to_pose(rotations: Tensor) -> Tensor:
    """The inverse of `pose_to_rotations`, (..., J, 4) wxyz -> (..., J, 3) rad."""
    return to_smpl(rot.to_rotation_vector(rotations))


def root_of_z_up_world(root: Tensor) -> Tensor:
    """Root rotations that turn SMPL's y-up rest pose straight into a z-up world (AMASS), (..., 3) rad -> (..., 4) wxyz in our frame."""
    lift = torch.tensor([0.5, -0.5, -0.5, -0.5], dtype=root.dtype, device=root.device)  # our rest pose to SMPL's
    return rot.multiply(rot.from_rotation_vector(root), lift.expand(*root.shape[:-1], 4))


def root_in_z_up_world(rotation: Tensor) -> Tensor:
    """The inverse of `root_of_z_up_world`, (..., 4) -> (..., 3) rad."""
    drop = torch.tensor([0.5, 0.5, 0.5, 0.5], dtype=rotation.dtype, device=rotation.device)
    return rot.to_rotation_vector(rot.multiply(rotation, drop.expand_as(rotation)))
