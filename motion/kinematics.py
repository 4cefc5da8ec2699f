"""Where a moving skeleton's joints are, and how fast they move."""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.clip import Skeleton


def forward_kinematics(skeleton: Skeleton, root_position: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """World positions (..., J, 3) and rotations (..., J, 4) of all joints.

    Args:
        skeleton: the joints.
        root_position: (..., 3) m.
        rotations: (..., J, 4) wxyz, relative to the parent.
    """
    offsets = torch.tensor(skeleton.offsets, dtype=rotations.dtype, device=rotations.device)
    positions, world = [root_position], [rotations[..., 0, :]]
    for joint, parent in enumerate(skeleton.parents[1:], start=1):
        positions.append(positions[parent] + rot.rotate(world[parent], offsets[joint].expand_as(root_position)))
        world.append(rot.multiply(world[parent], rotations[..., joint, :]))
    return torch.stack(positions, dim=-2), torch.stack(world, dim=-2)


def linear_velocity(position: Tensor, frame_rate: float, cyclic: bool) -> Tensor:
    """Central differences along dimension 0, (T, ..., 3) m -> m/s; one-sided at the ends unless the motion is a cycle.

    The last frame of a cycle is the first one of the next, so both get the same velocity.
    """
    between = (position[1:] - position[:-1]) * frame_rate
    return _at_frames(between, cyclic)


def angular_velocity(rotation: Tensor, frame_rate: float, cyclic: bool) -> Tensor:
    """Angular velocity in the moving frame (MuJoCo's convention for ball and free joints), (T, ..., 4) -> (T, ..., 3) rad/s."""
    between = rot.to_rotation_vector(rot.multiply(rot.conjugate(rotation[:-1]), rotation[1:])) * frame_rate
    return _at_frames(between, cyclic)


def _at_frames(between: Tensor, cyclic: bool) -> Tensor:
    """Mean of the velocities before and after each frame, (T - 1, ...) -> (T, ...)."""
    first, last = (between[-1:], between[:1]) if cyclic else (between[:1], between[-1:])
    return 0.5 * (torch.cat((first, between)) + torch.cat((between, last)))
