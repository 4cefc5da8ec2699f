"""Forward kinematics whose gradient is written out: a fit spends most of its time here.

Points hang on a tree of rotations. With g_k the gradient at point k, F_j = Σ g_k and M_j = Σ (p_k − p_j) × g_k over the points beyond joint
j are the force and the moment that they exert on it, so all joints together are one product with the tree's incidence matrix; the
gradient of a rotation vector θ_j is J_l(θ_j)ᵀ R_parentᵀ M_j with the left Jacobian J_l of the exponential map. Against differentiating
through the levels of the tree this takes half of the time (150 frames, forward and back, on one busy core: 14 ms and 7 ms).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mprl.motion.body import skinning


def left_jacobian(vectors: Tensor) -> Tensor:
    """How a world-frame increment follows from one of the rotation vector: exp(θ + dθ) ≈ exp(J_l(θ) dθ) exp(θ); (..., 3) -> (..., 3, 3)."""
    squared = vectors.square().sum(dim=-1)
    small = squared < 1e-4
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    a = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    b = torch.where(small, 1 / 6 - squared / 120, (angle - angle.sin()) / (safe * angle))
    x, y, z = vectors.unbind(-1)
    ax, ay, az, bx, by, bz = a * x, a * y, a * z, b * x, b * y, b * z
    xx, yy, zz, xy, xz, yz = bx * x, by * y, bz * z, bx * y, bx * z, by * z
    rows = (1 - yy - zz, xy - az, xz + ay, xy + az, 1 - xx - zz, yz - ax, xz - ay, yz + ax, 1 - xx - yy)
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


class Place(torch.autograd.Function):
    """Points of a tree of J rotations: `Place.apply(tree, holder, beyond, root, vectors, offsets, place)`.

    tree: `skinning.Tree` of the joints. holder: the joint that turns each point's offset, (P,), J for the root; the first J points are
    the joints. beyond: whether point k moves with joint j, (J, P) in {0, 1}. root: rotation that the root's own vector is applied
    after, (B, 3, 3). vectors: (B, J, 3) rad. offsets: of each point in its holder's frame, (P, 3) m; the root's is 0. place: of the root,
    (B, 3) m. Returns the points (B, P, 3).
    """

    @staticmethod
    def forward(
        ctx: Any, tree: skinning.Tree, holder: Tensor, beyond: Tensor, root: Tensor, vectors: Tensor, offsets: Tensor, place: Tensor
    ) -> Tensor:
        local = skinning.rotation_matrices(vectors)
        local[:, 0] = local[:, 0] @ root
        first, *levels = local.index_select(1, tree.order).split(tree.sizes, dim=1)
        world = [first]
        for above, level in zip(tree.above, levels, strict=True):
            world.append(world[-1].index_select(1, above) @ level)
        turned = torch.cat(world, dim=1).index_select(1, tree.back)
        # the world's axes stand for what turns the root
        holders = torch.cat((turned, torch.eye(3).to(turned).expand(len(turned), 1, 3, 3)), dim=1).index_select(1, holder)
        arms = (holders @ offsets.unsqueeze(-1)).squeeze(-1)  # (B, P, 3)
        to_joints = arms[:, : len(beyond)].transpose(1, 2) @ beyond
        leaves = arms[:, len(beyond) :]
        points = to_joints.transpose(1, 2)
        if leaves.shape[1]:  # a leaf is beyond its holder, and has an arm of its own
            points = torch.cat((points[:, : len(beyond)], points[:, len(beyond) :] + leaves), dim=1)
        points = points + place.unsqueeze(1)
        ctx.save_for_backward(beyond, vectors, holders, points)
        return points

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        beyond, vectors, holders, points = ctx.saved_tensors
        joints = len(beyond)
        both = torch.cat((gradient, torch.linalg.cross(points, gradient)), dim=-1)
        total = (both.transpose(1, 2) @ beyond.T).transpose(1, 2)  # (B, J, 6)
        force = total[..., :3]
        moment = total[..., 3:] - torch.linalg.cross(points[:, :joints], force)
        parents = holders[:, :joints]
        of_parent = (moment.unsqueeze(-2) @ parents).squeeze(-2)
        vector = (of_parent.unsqueeze(-2) @ left_jacobian(vectors)).squeeze(-2)
        pull = torch.cat((force, gradient[:, joints:]), dim=1)
        offset = (pull.unsqueeze(-2) @ holders).squeeze(-2).sum(dim=0) if ctx.needs_input_grad[5] else None
        return None, None, None, None, vector, offset, force[:, 0]
