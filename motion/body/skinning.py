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


class Tree:
    """A kinematic tree, laid out so that all joints of one depth move at once.

    Args:
        parents: of each joint, -1 for the root; a parent comes before its children.
        device: where the joints will be.
    """

    def __init__(self, parents: Sequence[int], device: torch.device | str = "cpu") -> None:
        depth = [0] * len(parents)
        for joint, parent in enumerate(parents[1:], start=1):
            depth[joint] = depth[parent] + 1
        order = sorted(range(len(parents)), key=depth.__getitem__)
        levels = [[joint for joint in order if depth[joint] == level] for level in range(max(depth) + 1)]

        def index(joints: Sequence[int]) -> Tensor:
            return torch.tensor(joints, device=device)

        self.parents = index(parents[1:])
        self.order, self.back = index(order), index([order.index(joint) for joint in range(len(parents))])
        self.sizes = [len(level) for level in levels]
        # of each joint of a level, its parent's place in the level above
        self.above = [index([up.index(parents[joint]) for joint in level]) for up, level in itertools.pairwise(levels)]


def forward_kinematics(rotations: Tensor, rest_joints: Tensor, tree: Tree) -> tuple[Tensor, Tensor]:
    """Place the joints.

    Args:
        rotations: relative to the parent, (B, J, 3, 3); the root's relative to the world.
        rest_joints: at rest, (B, J, 3) m.
        tree: of the J joints.

    Returns:
        World rotations (B, J, 3, 3) and positions (B, J, 3) m.
    """
    offsets = rest_joints[:, 1:] - rest_joints.index_select(1, tree.parents)
    offsets = torch.cat((rest_joints[:, :1], offsets), dim=1)
    last = rotations.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*rotations.shape[:2], 1, 4)
    local = torch.cat((torch.cat((rotations, offsets.unsqueeze(-1)), dim=-1), last), dim=-2)
    root, *levels = local.index_select(1, tree.order).split(tree.sizes, dim=1)
    world = [root]
    for above, level in zip(tree.above, levels, strict=True):
        world.append(world[-1].index_select(1, above) @ level)
    placed = torch.cat(world, dim=1).index_select(1, tree.back)
    return placed[..., :3, :3], placed[..., :3, 3]


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
