"""The terms of the fitting objective: pure functions over frames, each an energy in nats for each frame unless it says otherwise."""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.motion.body.joints import JOINTS
from mprl.motion.fitting.limits import HINGES


def geman_mcclure(squared: Tensor, scale: float | Tensor) -> Tensor:
    """ρ² r² / (r² + ρ²): r² near 0, and at most ρ², so that an outlier cannot pull for ever (Geman & McClure 1987)."""
    rho2 = scale**2
    return rho2 * squared / (squared + rho2)


def reprojection(found: Tensor, seen: Tensor, confidence: Tensor, scale: float, deviation: Tensor) -> Tensor:
    """How far keypoints are from where they were seen (SMPLify, eq. 2; confidences as SMPLify-X's, squared).

    Args:
        found, seen: (V, T, K, 2) px.
        confidence: (V, T, K).
        scale: ρ, px for a person 500 px tall.
        deviation: of a detector along each axis, (V, 1, 1) px; 1 % of the person's height is usual.

    Returns:
        (T,).
    """
    squared = ((found - seen) / deviation.unsqueeze(-1)).square().sum(dim=-1)
    robust = geman_mcclure(squared, scale / 5.0)  # ρ in deviations: 1 % of 500 px is 5 px
    return 0.5 * (confidence.square() * robust).sum(dim=(0, 2))


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
    bent = torch.stack([sign * pose[:, JOINTS.index(name) - 1, axis] for name, axis, sign in HINGES], dim=-1)
    return (2.0 * bent.clamp(max=3.0)).exp().sum(dim=-1)


def joint_steps(joints: Tensor, frame_rate: float, speed: float = 1.0) -> Tensor:
    """½ |J_t − J_t+1|², as speeds in units of `speed` m/s; of joints (T, J, 3) -> (T − 1,)."""
    return 0.5 * ((joints[1:] - joints[:-1]) * (frame_rate / speed)).square().sum(dim=(1, 2))


def joint_accelerations(joints: Tensor, frame_rate: float, acceleration: float = 10.0) -> Tensor:
    """½ |J_t-1 − 2 J_t + J_t+1|² in units of `acceleration` m/s²; of joints (T, J, 3) m -> (T − 2,)."""
    second = joints[2:] - 2 * joints[1:-1] + joints[:-2]
    return 0.5 * (second * (frame_rate**2 / acceleration)).square().sum(dim=(1, 2))


def pose_steps(pose: Tensor, frame_rate: float, speed: float = 3.0) -> Tensor:
    """½ |Δθ|² as angular speeds in units of `speed` rad/s; of rotation vectors (T, J, 3) rad -> (T − 1,)."""
    return 0.5 * ((pose[1:] - pose[:-1]) * (frame_rate / speed)).square().sum(dim=(1, 2))


def turning(root: Tensor, pose: Tensor, frame_rate: float, acceleration: float = 50.0) -> Tensor:
    """½ |dω/dt|² of the pelvis and of each joint, in units of `acceleration` rad/s².

    Args:
        root: of the pelvis, (T, ..., 3, 3).
        pose: rotation vectors of the joints, (T, ..., J, 3) rad.
        frame_rate: Hz.

    Returns:
        (T − 2,).
    """
    step = root[:-1].transpose(-1, -2) @ root[1:]
    # sin(angle) times the axis: as good as the angle between frames
    twice = torch.stack([step[..., 2, 1] - step[..., 1, 2], step[..., 0, 2] - step[..., 2, 0], step[..., 1, 0] - step[..., 0, 1]], dim=-1)
    change = torch.cat((0.5 * (twice[1:] - twice[:-1]).unsqueeze(-2), pose[2:] - 2 * pose[1:-1] + pose[:-2]), dim=-2)
    return 0.5 * (change * (frame_rate**2 / acceleration)).square().flatten(1).sum(dim=1)


def standing(points: Tensor, stands: Tensor, frame_rate: float, speed: float = 0.15) -> Tensor:
    """Points of feet that stand do not move: ½ |p_t − p_t+1|² in units of `speed` m/s.

    Args:
        points: (T, K, 3) m.
        stands: how sure it is that each stands between frames t and t + 1, (T − 1, K) in [0, 1].
        frame_rate: Hz.

    Returns:
        (T − 1,).
    """
    moved = ((points[1:] - points[:-1]) * (frame_rate / speed)).square().sum(dim=-1)
    return 0.5 * (stands * geman_mcclure(moved, 10.0)).sum(dim=-1)


# bones as capsules: from joint to joint, radius m; and which of them must not go through each other
CAPSULES = (
    ("pelvis", "spine3", 0.12), ("spine3", "neck", 0.10), ("head", "neck", 0.08),
    ("left_elbow", "left_hand", 0.04), ("right_elbow", "right_hand", 0.04),
    ("left_hip", "left_knee", 0.07), ("right_hip", "right_knee", 0.07),
    ("left_knee", "left_ankle", 0.05), ("right_knee", "right_ankle", 0.05),
)  # fmt: skip
_APART = ((0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4), (3, 5), (4, 5), (3, 6), (4, 6), (5, 8), (6, 7), (7, 8), (3, 7), (4, 8))


def interpenetration(joints: Tensor, deviation: float = 0.03) -> Tensor:
    """½ depth² of limbs within each other, of capsules about the bones, in units of `deviation` m; joints (T, 24, 3) m -> (T,)."""
    start = torch.stack([joints[:, JOINTS.index(a)] for a, _, _ in CAPSULES], dim=1)
    end = torch.stack([joints[:, JOINTS.index(b)] for _, b, _ in CAPSULES], dim=1)
    radius = joints.new_tensor([r for _, _, r in CAPSULES])
    first, second = (list(side) for side in zip(*_APART, strict=True))
    distance = segment_distance(start[:, first], end[:, first], start[:, second], end[:, second])
    depth = (radius[first] + radius[second] - distance).clamp(min=0.0)
    return 0.5 * (depth / deviation).square().sum(dim=-1)


def segment_distance(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Least distance between the segments ab and cd, (..., 3) each (Ericson 2005, 5.1.9)."""
    u, v, w = b - a, d - c, a - c
    uu, vv, uv = (u * u).sum(-1), (v * v).sum(-1), (u * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    uu, vv = uu.clamp(min=1e-9), vv.clamp(min=1e-9)
    s = ((uv * vw - vv * uw) / (uu * vv - uv.square()).clamp(min=1e-9)).clamp(0, 1)
    t = ((uv * s + vw) / vv).clamp(0, 1)
    s = ((uv * t - uw) / uu).clamp(0, 1)
    return (w + s.unsqueeze(-1) * u - t.unsqueeze(-1) * v).square().sum(-1).clamp(min=1e-12).sqrt()
