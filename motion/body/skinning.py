"""SMPL's forward pass: rotations along the kinematic tree, then linear blend skinning (Loper et al. 2015, eq. 2 to 4).

Plain functions over batches, differentiable, on any device. Points of a mesh lie as planes, (B, 3, V), so that each step over the
vertices is one matrix product or one pass over contiguous memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def rotation_matrices(vectors: Tensor) -> Tensor:
    """Rodrigues' formula, (..., 3) rad -> (..., 3, 3); smooth at zero, where its derivative is exact too."""
    squared = vectors.square().sum(dim=-1)
    small = squared < 1e-6
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    sine = torch.where(small, 1 - squared / 6 + squared.square() / 120, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24 + squared.square() / 720, (1 - angle.cos()) / angle.square())
    x, y, z = vectors.unbind(-1)
    sx, sy, sz = (sine * x, sine * y, sine * z)
    cx, cy, cz = (cosine * x, cosine * y, cosine * z)
    xy, xz, yz, xx, yy, zz = (cx * y, cx * z, cy * z, cx * x, cy * y, cz * z)
    entries = (1 - yy - zz, xy - sz, xz + sy, xy + sz, 1 - xx - zz, yz - sx, xz - sy, yz + sx, 1 - xx - yy)
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def tree_levels(parents: Sequence[int]) -> list[list[int]]:
    """Joints by their depth in the tree: all joints of a level move at once. A parent must come before its children."""
    depth = [0] * len(parents)
    for joint, parent in enumerate(parents[1:], start=1):
        depth[joint] = depth[parent] + 1
    return [[joint for joint, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]


def forward_kinematics(rotations: Tensor, rest_joints: Tensor, parents: Sequence[int], levels: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Place the joints.

    Args:
        rotations: relative to the parent, (B, J, 3, 3); the root's relative to the world.
        rest_joints: at rest, (B, J, 3) m.
        parents: of each joint, -1 for the root.
        levels: `tree_levels(parents)`.

    Returns:
        World rotations (B, J, 3, 3) and positions (B, J, 3) m.
    """
    world, place = rotations[:, :1], rest_joints[:, :1].unsqueeze(-1)
    turned, placed, order = [world], [place], list(levels[0])
    for above, joints in itertools.pairwise(levels):
        up = [above.index(parents[joint]) for joint in joints]
        offset = rest_joints[:, joints] - rest_joints[:, [parents[joint] for joint in joints]]
        world, place = world[:, up], place[:, up]
        place = place + world @ offset.unsqueeze(-1)
        world = world @ rotations[:, joints]
        turned.append(world)
        placed.append(place)
        order += joints
    back = [order.index(joint) for joint in range(len(parents))]
    return torch.cat(turned, dim=1)[:, back], torch.cat(placed, dim=1)[:, back].squeeze(-1)


def bone_transforms(world: Tensor, joints: Tensor, rest_joints: Tensor) -> Tensor:
    """What each bone does to a point at rest: rotation and translation side by side, (B, J, 3, 4)."""
    moved = joints.unsqueeze(-1) - world @ rest_joints.unsqueeze(-1)
    return torch.cat((world, moved), dim=-1)


def local_corrections(directions: Tensor) -> list[tuple[Tensor, Tensor]] | None:
    """Pose directions (207, 3, V) joint by joint: the vertices that it corrects (n,), and its nine rows there (9, 3 n).

    None where they are not local: one product over the whole mesh is faster then.
    """
    local = []
    for rows in directions.split(9):
        vertices = rows.abs().amax(dim=(0, 1)).nonzero().squeeze(1)
        local.append((vertices, rows[..., vertices].flatten(1).contiguous()))
    return local if sum(len(vertices) for vertices, _ in local) < 0.3 * len(local) * directions.shape[-1] else None


def add_corrections(points: Tensor, feature: Tensor, local: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Points (B, 3, V) with the corrections of a pose feature (B, 207) added."""
    for part, (vertices, rows) in zip(feature.split(9, dim=1), local, strict=True):
        points = points.index_add_(2, vertices, (part @ rows).unflatten(1, (3, -1)))
    return points


def blend_skinning(points: Tensor, transforms: Tensor, weights: Tensor) -> Tensor:
    """Move each point by the mean of the bones' transforms, weighted.

    Args:
        points: at rest, (B, 3, V) m.
        transforms: of the bones, (B, J, 3, 4).
        weights: (J, V), each column summing to 1.

    Returns:
        (B, 3, V) m.
    """
    size = len(transforms)
    blended = (transforms.flatten(2).transpose(1, 2).reshape(size * 12, -1) @ weights).view(size, 3, 4, -1)
    return (
        torch.addcmul(blended[:, :, 3], blended[:, :, 0], points[:, None, 0])
        .addcmul(blended[:, :, 1], points[:, None, 1])
        .addcmul(blended[:, :, 2], points[:, None, 2])
    )
