"""The terms of the fitting objective: pure functions over frames, each an energy in nats for each frame unless it says otherwise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mprl.motion.body.joints import JOINTS
from mprl.motion.fitting.limits import HINGES
from mprl.motion.fitting.placing import SKEW

_HINGES = torch.tensor([3 * (JOINTS.index(name) - 1) + axis for name, axis, _ in HINGES])
_SIGNS = torch.tensor([sign for _, _, sign in HINGES])


def geman_mcclure(squared: Tensor, scale: float | Tensor) -> Tensor:
    """ρ² r² / (r² + ρ²): r² near 0, and at most ρ², so that an outlier cannot pull for ever (Geman & McClure 1987)."""
    rho2 = scale**2
    return rho2 * squared / (squared + rho2)


def reprojection(found: Tensor, seen: Tensor, confidence: Tensor, scale: float, deviation: Tensor) -> Tensor:
    """How far keypoints are from where they were seen (SMPLify, eq. 2; confidences as SMPLify-X's, squared).

    Args:
        found, seen: (V, K, T, 2) px.
        confidence: (V, K, T).
        scale: ρ, px for a person 500 px tall.
        deviation: of a detector along each axis, (V, 1, 1) px; 1 % of the person's height is usual.

    Returns:
        (T,).
    """
    squared = ((found - seen) / deviation.unsqueeze(-1)).square().sum(dim=-1)
    robust = geman_mcclure(squared, scale / 5.0)  # ρ in deviations: 1 % of 500 px is 5 px
    return 0.5 * (confidence.square() * robust).sum(dim=(0, 1))


def shape(betas: Tensor) -> Tensor:
    """½ |β|²: betas are standard deviations; of one shape (S,) -> ()."""
    return 0.5 * betas.square().sum()


def hinges(pose: Tensor) -> Tensor:
    """Σ exp(2 s θ) over elbows and knees, which bend one way (SMPLify, eq. 3 with SPIN's factor 2).

    Args:
        pose: rotation vectors of the joints after the pelvis, (T, J, 3) rad.

    Returns:
        (T,).
    """
    bent = pose.flatten(1).index_select(1, _HINGES) * _SIGNS
    return (2.0 * bent.clamp(max=3.0)).exp().sum(dim=-1)


def velocities(x: Tensor, steps: Tensor) -> Tensor:
    """Differences of (T, ...) along time divided by the times between, (T − 1,) s: (T − 1, ...)."""
    change: Tensor = _Change.apply(x)
    return change / _along(steps, x)


def angular_velocities(rotations: Tensor, steps: Tensor) -> Tensor:
    """Of matrices (T, 3, 3) in their own axes, (T − 1, 3) rad/s; of small turns, as what is taken for the angle is its sine."""
    turned = rotations[:-1].transpose(-1, -2) @ rotations[1:]
    return 0.5 * (turned.flatten(-2) @ SKEW) / steps.unsqueeze(-1)


def speed(velocity: Tensor, unit: float) -> Tensor:
    """½ |v|² in units of `unit`, summed over all but time: (T − 1, ...) -> (T − 1,)."""
    return half_squares(velocity / unit)


def acceleration(velocity: Tensor, steps: Tensor, unit: float) -> Tensor:
    """½ |dv/dt|² in units of `unit`, summed over all but time.

    Args:
        velocity: means over the steps, (T − 1, ...).
        steps: s, (T − 1,); their middles lie half of two neighbours apart.
        unit: of acceleration.

    Returns:
        (T − 2,).
    """
    change: Tensor = _Change.apply(velocity)
    return half_squares(change / _along(0.5 * unit * (steps[1:] + steps[:-1]), change))


def standing(velocity: Tensor, stands: Tensor, unit: float = 0.15) -> Tensor:
    """Points of feet that stand do not move: ½ |v|² in units of `unit` m/s, bounded.

    Args:
        velocity: of points, (T − 1, K, 3) m/s.
        stands: how sure it is that each stands between frames t and t + 1, (T − 1, K) in [0, 1].
        unit: m/s.

    Returns:
        (T − 1,).
    """
    moved = velocity.square().sum(dim=-1) / unit**2
    return 0.5 * (stands * geman_mcclure(moved, 10.0)).sum(dim=-1)


def half_squares(x: Tensor) -> Tensor:
    """½ |x|² over all but the first dimension."""
    found: Tensor = _HalfSquares.apply(x)
    return found


def _along(time: Tensor, like: Tensor) -> Tensor:
    return time.view(-1, *[1] * (like.ndim - 1))


# gradients written out: a fit goes through them a hundred times, and most of the time of small steps is spent between operations


class _Change(torch.autograd.Function):
    """x[1:] − x[:-1]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x[1:] - x[:-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (g,) = gradients
        return torch.cat((-g[:1], g[:-1] - g[1:], g[-1:]))


class _HalfSquares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return 0.5 * x.square().sum(dim=list(range(1, x.ndim)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x * _along(gradients[0], x)


# bones as capsules: from joint to joint, radius m; and which of them must not go through each other
CAPSULES = (
    ("pelvis", "spine3", 0.12), ("spine3", "neck", 0.10), ("head", "neck", 0.08),
    ("left_elbow", "left_hand", 0.04), ("right_elbow", "right_hand", 0.04),
    ("left_hip", "left_knee", 0.07), ("right_hip", "right_knee", 0.07),
    ("left_knee", "left_ankle", 0.05), ("right_knee", "right_ankle", 0.05),
)  # fmt: skip
_APART = ((0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4), (3, 5), (4, 5), (3, 6), (4, 6), (5, 8), (6, 7), (7, 8), (3, 7), (4, 8))


_FIRST, _SECOND = ([CAPSULES[pair[side]] for pair in _APART] for side in (0, 1))
_ENDS = torch.tensor([[JOINTS.index(joint) for joint in (*a[:2], *b[:2])] for a, b in zip(_FIRST, _SECOND, strict=True)])  # (16, 4)
_REACH = torch.tensor([a[2] + b[2] for a, b in zip(_FIRST, _SECOND, strict=True)])


def interpenetration(joints: Tensor, deviation: float = 0.03) -> Tensor:
    """½ depth² of limbs within each other, of capsules about the bones, in units of `deviation` m; joints (T, 24, 3) m -> (T,)."""
    with torch.no_grad():  # where they are nearest is no function of the joints: of a least distance it has no slope
        ends = joints.permute(2, 1, 0).index_select(1, _ENDS.flatten()).unflatten(1, _ENDS.shape)  # (3, 16, 4, T)
        shares = nearest(*ends.unbind(2))  # (4, 16, T)
        apart = (ends * shares.transpose(0, 1)).sum(dim=2).square().sum(dim=0)
        pair, frame = (apart < _REACH.square().unsqueeze(-1)).nonzero().unbind(1)  # few
        shares = shares[:, pair, frame].T.unsqueeze(-1)
    distance = (joints[frame.unsqueeze(1), _ENDS[pair]] * shares).sum(dim=1).square().sum(dim=1).clamp(min=1e-12).sqrt()
    squared = ((_REACH[pair] - distance) / deviation).square()
    return joints.new_zeros(len(joints)).index_add(0, frame, squared, alpha=0.5)


def nearest(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Where the segments ab and cd come nearest (Ericson 2005, 5.1.9).

    Args:
        a, b, c, d: ends, (3, ...).

    Returns:
        Shares of the ends, (4, ...), whose sum leads from cd to ab: (1 − s) a + s b − (1 − t) c − t d.
    """
    u, v, w = b - a, d - c, a - c
    uu, vv, uv = (u * u).sum(0), (v * v).sum(0), (u * v).sum(0)
    uw, vw = (u * w).sum(0), (v * w).sum(0)
    uu, vv = uu.clamp(min=1e-9), vv.clamp(min=1e-9)
    s = ((uv * vw - vv * uw) / (uu * vv - uv.square()).clamp(min=1e-9)).clamp(0, 1)
    t = ((uv * s + vw) / vv).clamp(0, 1)
    s = ((uv * t - uw) / uu).clamp(0, 1)
    return torch.stack((1 - s, s, t - 1, -t))
