"""Forward kinematics whose gradient is written out: a fit spends most of its time here.

Points hang on a tree of rotations. With g_k the gradient at point k, F_j = Σ g_k and M_j = Σ (p_k − p_j) × g_k over the points beyond joint
j are the force and the moment that they exert on it, so all joints together are one product with the tree's incidence matrix; the
gradient of a rotation vector θ_j is J_l(θ_j)ᵀ R_parentᵀ M_j with the left Jacobian J_l of the exponential map.

Inside, coordinates come first and bodies last, (3, J, B): a product of many small matrices is then three passes over contiguous memory,
each over all of them. What goes out is a view, (B, P, 3), of that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mprl.motion.body import skinning

_TINY = 1e-12  # rad²: smaller angles are none, for what is divided by them
# [θ]× = SKEW θ, row by row, (9, 3)
SKEW = torch.tensor([[0, 0, 0], [0, 0, -1], [0, 1, 0], [0, 0, 1], [0, 0, 0], [-1, 0, 0], [0, -1, 0], [1, 0, 0], [0, 0, 0.0]])


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
        joints, v = len(beyond), vectors.permute(2, 1, 0).contiguous()
        local, *factors = _rotations(v)
        first, *levels = local.index_select(2, tree.order).split(tree.sizes, dim=2)
        world = [_product(first, root.permute(1, 2, 0).unsqueeze(2))]
        for above, level in zip(tree.above, levels, strict=True):
            world.append(_product(world[-1].index_select(2, above), level))
        # the world's axes stand for what turns the root
        world.append(torch.eye(3).to(v)[:, :, None, None].expand(3, 3, 1, v.shape[2]))
        back = torch.cat((tree.back, tree.back.new_tensor([joints])))
        holders = torch.cat(world, dim=2).index_select(2, back[holder])
        arms = _times(holders, offsets.T.unsqueeze(-1))  # (3, P, B)
        points = beyond.T @ arms[:, :joints]
        points[:, joints:] += arms[:, joints:]  # a leaf is beyond its holder, and has an arm of its own
        points += place.T.unsqueeze(1)
        ctx.save_for_backward(beyond, v, *factors, holders, points)
        return points.permute(2, 1, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        beyond, v, b, c, holders, points = ctx.saved_tensors
        gradient, joints = gradients[0].permute(2, 1, 0).contiguous(), len(beyond)
        force = beyond @ gradient  # (3, J, B)
        moment = beyond @ _cross(points, gradient) - _cross(points[:, :joints], force)
        vector = _of_vector(v, b, c, _times(holders[:, :, :joints].transpose(0, 1), moment))
        offset = None
        if ctx.needs_input_grad[5]:
            pull = torch.cat((force, gradient[:, joints:]), dim=1)
            offset = _times(holders.transpose(0, 1), pull).sum(dim=2).T
        return None, None, None, None, vector.permute(2, 1, 0), offset, force[:, 0].T


class Turn(torch.autograd.Function):
    """Rotations turned by vectors in the world's axes: `Turn.apply(vectors, root)`, (B, 3) rad and (B, 3, 3) -> (B, 3, 3)."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, root: Tensor) -> Tensor:
        v = vectors.T.contiguous()
        local, *factors = _rotations(v)
        turned = _product(local, root.permute(1, 2, 0))
        ctx.save_for_backward(v, *factors, turned)
        return turned.permute(2, 0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        v, b, c, turned = ctx.saved_tensors
        moment = _cross(turned, gradients[0].permute(1, 2, 0)).sum(dim=1)
        return _of_vector(v, b, c, moment).T, None


def _of_vector(v: Tensor, b: Tensor, c: Tensor, moment: Tensor) -> Tensor:
    """The gradient of rotation vectors θ (3, ...), J_l(θ)ᵀ m = m − b θ × m + c (θ (θ·m) − θ² m)."""
    across = (v * (v * moment).sum(dim=0)).addcmul_(v.square().sum(dim=0), moment, value=-1)
    return moment.addcmul(b, _cross(v, moment), value=-1).addcmul_(c, across)


def _rotations(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of vectors (3, ...): matrices (3, 3, ...), and (1 − cos θ) / θ² and (θ − sin θ) / θ³, which the left Jacobian is made of."""
    squared = v.square().sum(dim=0)
    safe = squared.clamp(min=_TINY)
    half = 0.5 * safe.sqrt()
    sinc = half.sin() / half
    a, b = sinc * half.cos(), 0.5 * sinc.square()
    matrices = (SKEW.to(v) @ (a * v).flatten(1)).view(3, *v.shape).addcmul_((b * v).unsqueeze(1), v)
    matrices.diagonal(dim1=0, dim2=1).add_((1 - b * squared).unsqueeze(-1))
    return matrices, b, (1 - a) / safe


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrices (3, 3, ...) times others."""
    return _times(a.unsqueeze(2), b)


def _times(a: Tensor, v: Tensor) -> Tensor:
    """Matrices (3, 3, ...) times vectors (3, ...)."""
    (a0, a1, a2), (v0, v1, v2) = a.unbind(1), v.unbind(0)
    return torch.mul(a0, v0).addcmul_(a1, v1).addcmul_(a2, v2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Of vectors (3, ...)."""
    a, b = torch.cat((a, a)), torch.cat((b, b))
    return torch.mul(a[1:4], b[2:5]).addcmul_(a[2:5], b[1:4], value=-1)
