"""Rotations of bones in the world and of joints relative to their parents, as matrices, and where the joints are."""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, PARENTS

# bones that no sensor says anything about and whose turns are small: they follow the bone above
FOLLOW = tuple(JOINTS.index(f"{side}_{joint}") for joint in ("foot", "wrist", "hand") for side in ("left", "right"))
PREDICTED = tuple(joint for joint in range(len(JOINTS)) if joint not in FOLLOW)


def matrices(q: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4)."""
    return from_six_d(rot.to_six_d(q))


def from_six_d(six: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of their first two columns (..., 6), made orthonormal (Zhou et al. 2019)."""
    first, second = six[..., :3], six[..., 3:]
    x = rot.unit(first)
    y = rot.unit(second - (x * second).sum(dim=-1, keepdim=True) * x)
    return torch.stack((x, y, torch.linalg.cross(x, y)), dim=-1)


def six_d(matrix: Tensor) -> Tensor:
    """The first two columns, (..., 3, 3) -> (..., 6)."""
    return torch.cat((matrix[..., 0], matrix[..., 1]), dim=-1)


def quaternions(matrix: Tensor) -> Tensor:
    """Unit quaternions wxyz (..., 4) of rotation matrices (..., 3, 3)."""
    from scipy.spatial.transform import Rotation

    flat = Rotation.from_matrix(matrix.detach().reshape(-1, 3, 3).double().cpu().numpy()).as_quat(scalar_first=True)
    return torch.as_tensor(flat, dtype=matrix.dtype, device=matrix.device).reshape(*matrix.shape[:-2], 4)


def worlds(rotation: Tensor) -> Tensor:
    """Rotations in the world of those relative to the parent, (..., 24, 3, 3) each; the root's stays."""
    world = [rotation[..., 0, :, :]]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        world.append(world[parent] @ rotation[..., joint, :, :])
    return torch.stack(world, dim=-3)


def local(world: Tensor) -> Tensor:
    """Rotations relative to the parent of rotations in the world, (..., 24, 3, 3) each; the root's stays."""
    return torch.cat((world[..., :1, :, :], world[..., PARENTS[1:], :, :].transpose(-1, -2) @ world[..., 1:, :, :]), dim=-3)


def vectors(matrix: Tensor) -> Tensor:
    """Rotation vectors (..., 3) rad of rotation matrices (..., 3, 3), differentiable; not at half a turn, where there are two."""
    twice = torch.stack(
        (matrix[..., 2, 1] - matrix[..., 1, 2], matrix[..., 0, 2] - matrix[..., 2, 0], matrix[..., 1, 0] - matrix[..., 0, 1]), dim=-1
    )
    squared = twice.square().sum(dim=-1, keepdim=True)  # (2 sin)²
    small = squared < 1e-6
    sine = 0.5 * torch.where(small, torch.ones_like(squared), squared).sqrt()
    cosine = 0.5 * (matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1, keepdim=True) - 1.0)
    full = torch.atan2(sine, cosine) / (2.0 * sine)
    return twice * torch.where(small, torch.full_like(full, 0.5), full)


def positions(world: Tensor, rest: Tensor) -> Tensor:
    """Joints relative to the pelvis, (..., 24, 3) m, of bones' rotations in the world (..., 24, 3, 3) and joints at rest (..., 24, 3)."""
    bones = (rest[..., 1:, :] - rest[..., PARENTS[1:], :]).expand(*world.shape[:-3], -1, 3)
    steps = (world[..., PARENTS[1:], :, :] @ bones.unsqueeze(-1)).squeeze(-1)
    return torch.einsum("jk,...kc->...jc", _PATHS.to(steps), steps)


def _paths() -> Tensor:
    """Which bones lie between the pelvis and each joint, (24, 23)."""
    paths = torch.zeros(len(PARENTS), len(PARENTS) - 1)
    for joint, parent in enumerate(PARENTS[1:], start=1):
        paths[joint] = paths[parent]
        paths[joint, joint - 1] = 1.0
    return paths


_PATHS = _paths()
