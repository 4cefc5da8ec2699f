"""How far a fitted motion is from the true one. Reprojection alone proves nothing: two poses can look alike from one side."""

from __future__ import annotations

import torch
from torch import Tensor


def align(found: Tensor, true: Tensor) -> Tensor:
    """`found` scaled, turned and moved to lie best on `true`, each frame by itself (Procrustes; Umeyama 1991), (..., J, 3)."""
    mean_found, mean_true = found.mean(dim=-2, keepdim=True), true.mean(dim=-2, keepdim=True)
    a, b = found - mean_found, true - mean_true
    u, s, vt = torch.linalg.svd(b.transpose(-1, -2) @ a)
    sign = torch.ones_like(s)
    sign[..., -1] = torch.linalg.det(u @ vt).sign()
    rotation = u @ (sign.unsqueeze(-1) * vt)
    scale = (s * sign).sum(dim=-1) / a.square().sum(dim=(-1, -2)).clamp(min=1e-12)
    return scale[..., None, None] * (a @ rotation.transpose(-1, -2)) + mean_true


def mpjpe(found: Tensor, true: Tensor) -> Tensor:
    """Mean distance of joints with both pelvises at one place, m (MPJPE), of (T, J, 3)."""
    return ((found - found[..., :1, :]) - (true - true[..., :1, :])).norm(dim=-1).mean()


def pa_mpjpe(found: Tensor, true: Tensor) -> Tensor:
    """Mean distance of joints after each frame was aligned (PA-MPJPE), m, of (T, J, 3)."""
    return (align(found, true) - true).norm(dim=-1).mean()


def acceleration_error(found: Tensor, true: Tensor, frame_rate: float) -> Tensor:
    """Mean length of the difference of the joints' accelerations, m/s², of (T, J, 3)."""

    def second(x: Tensor) -> Tensor:
        return (x[2:] - 2 * x[1:-1] + x[:-2]) * frame_rate**2

    return (second(found) - second(true)).norm(dim=-1).mean()
