"""Unit quaternions in MuJoCo's order (w, x, y, z), batched over leading dimensions.

roma covers rotations in general, in the order (x, y, z, w). These few are ours because they sit on the environment's hot path,
where reordering every quaternion in and out costs more than the operation itself (docs/decisions.md has the measurement). Each
is checked against roma in the tests.
"""

from __future__ import annotations

import torch
from torch import Tensor


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product a b: rotate by b, then by a. (..., 4) each."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        dim=-1,
    )


def unit(v: Tensor) -> Tensor:
    """Vectors or quaternions (..., n) at length 1; a null vector stays one. Half the time of `torch.nn.functional.normalize`."""
    return v * v.square().sum(dim=-1, keepdim=True).clamp(min=1e-24).rsqrt()


def conjugate(q: Tensor) -> Tensor:
    """The inverse rotation, (..., 4)."""
    return torch.cat((q[..., :1], -q[..., 1:]), dim=-1)


def rotate(q: Tensor, v: Tensor) -> Tensor:
    """Rotate vectors (..., 3) by quaternions (..., 4)."""
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * torch.linalg.cross(u.expand_as(v), v)
    return v + w * t + torch.linalg.cross(u.expand_as(t), t)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle of the rotation between a and b, rad in [0, pi], (...)."""
    return 2.0 * (a * b).sum(dim=-1).abs().clamp(max=1.0).acos()


def to_rotation_vector(q: Tensor) -> Tensor:
    """Axis times angle, rad, angle in [0, pi], (..., 3): the exponential map's inverse."""
    q = torch.where(q[..., :1] < 0, -q, q)
    norm = q[..., 1:].norm(dim=-1, keepdim=True)
    full = 2.0 * torch.atan2(norm, q[..., :1])
    # angle / sin(angle / 2) tends to 2 for small angles
    return q[..., 1:] * torch.where(norm > 1e-8, full / norm.clamp(min=1e-12), torch.full_like(norm, 2.0))


def from_rotation_vector(v: Tensor) -> Tensor:
    """The exponential map, (..., 3) rad -> (..., 4)."""
    half = 0.5 * v.norm(dim=-1, keepdim=True)
    return torch.cat((half.cos(), 0.5 * v * torch.sinc(half / torch.pi)), dim=-1)


def from_axis_angle(axis: Tensor, radians: Tensor) -> Tensor:
    """Rotation about unit axes (..., 3) by angles (...), rad."""
    return from_rotation_vector(axis * radians.unsqueeze(-1))


def about_vertical(radians: Tensor) -> Tensor:
    """The rotation about the world's z axis by an angle, (...) rad -> (..., 4)."""
    half, zero = 0.5 * radians, torch.zeros_like(radians)
    return torch.stack((half.cos(), zero, zero, half.sin()), dim=-1)


def hinge_angle(q: Tensor, axis: Tensor) -> Tensor:
    """Angle about a unit axis, rad in [-pi, pi): the twist of q about it, (...)."""
    twist = 2.0 * torch.atan2((q[..., 1:] * axis).sum(dim=-1), q[..., 0])
    return torch.remainder(twist + torch.pi, 2 * torch.pi) - torch.pi


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation along the shorter arc; t in [0, 1] broadcasts against (...)."""
    return multiply(a, from_rotation_vector(t.unsqueeze(-1) * to_rotation_vector(multiply(conjugate(a), b))))


def continuous(q: Tensor) -> Tensor:
    """Flip signs along dimension 0 so that neighbours lie in the same half of the sphere (same rotations), (T, ..., 4)."""
    flips = torch.where((q[1:] * q[:-1]).sum(dim=-1, keepdim=True) < 0, -1.0, 1.0).to(q.dtype)
    return torch.cat((q[:1], q[1:] * flips.cumprod(dim=0)), dim=0)


def _six_d_map() -> Tensor:
    """The linear map from the products q_i q_j, (16,), to the first two columns of the rotation matrix, (6,)."""
    m = torch.zeros(4, 4, 6)
    w, x, y, z = range(4)
    for i, (plus, minus) in enumerate((((w, x), (y, z)), ((w, y), (x, z)))):  # diagonal entries R00, R11
        for k in plus:
            m[k, k, 3 * i + i] = 1
        for k in minus:
            m[k, k, 3 * i + i] = -1
    m[x, y, 1] = m[w, z, 1] = 2  # R10
    m[x, z, 2] = 2  # R20
    m[w, y, 2] = -2
    m[x, y, 3] = 2  # R01
    m[w, z, 3] = -2
    m[y, z, 5] = m[w, x, 5] = 2  # R21
    return m.reshape(16, 6)


_SIX_D = _six_d_map()


def to_six_d(q: Tensor) -> Tensor:
    """The first two columns of the rotation matrix (Zhou et al. 2019), (..., 4) -> (..., 6).

    Each entry is a quadratic form of q, so one product and one small matrix multiplication do.
    """
    products = (q.unsqueeze(-1) * q.unsqueeze(-2)).flatten(-2)
    return products @ _SIX_D.to(q)
