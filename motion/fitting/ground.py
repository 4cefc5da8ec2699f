"""The floor that feet stood on: from a camera of which nothing is known to a world whose floor is z = 0."""

from __future__ import annotations

import torch
from torch import Tensor

from mprl.motion.body import skinning

_TILT = 0.2  # how far cameras usually look up or down, rad
_UNEVEN = 0.03  # m: what is left between feet and the floor
_SLOW = 0.4  # m/s


def floor(feet: Tensor, frame_rate: float) -> Tensor:
    """The plane z = a x + b y + c under feet, (3,): through where they are slow and low, level where nothing speaks against it.

    Args:
        feet: points of the feet, (T, P, 3) m, z about up.
        frame_rate: Hz.
    """
    step = (feet[1:] - feet[:-1]).norm(dim=-1) * frame_rate
    speed = torch.cat((step[:1], torch.maximum(step[1:], step[:-1]), step[-1:]))
    slow = feet[speed < torch.maximum(torch.tensor(_SLOW), speed.quantile(0.1))]
    plane = torch.tensor([0.0, 0.0, float(slow[:, 2].quantile(0.2))])
    for reach in (0.3, 0.15, 0.08):  # nearer and nearer to the plane
        above = slow[:, 2] - slow[:, :2] @ plane[:2] - plane[2]
        near = slow[above.abs() < reach]
        if len(near) < 3:
            break
        rows = torch.cat((near[:, :2], torch.ones(len(near), 1)), dim=1)
        centre = rows[:, :2].mean(dim=0)
        rows[:, :2] -= centre
        # ten neighbouring frames say little more than one
        own = rows.T @ rows / (10 * _UNEVEN**2) + torch.diag(torch.tensor([1.0, 1.0, 0.0]) / _TILT**2)
        slope = torch.linalg.solve(own, rows.T @ near[:, 2] / (10 * _UNEVEN**2))
        plane = torch.cat((slope[:2], (slope[2] - slope[:2] @ centre)[None]))
    return plane


def level(plane: Tensor) -> tuple[Tensor, float]:
    """The rotation (3, 3) that makes the plane level, and how high it is afterwards, m."""
    normal = torch.stack((-plane[0], -plane[1], torch.ones(())))
    normal = normal / normal.norm()
    axis = torch.stack((normal[1], -normal[0], torch.zeros(())))  # normal x up
    sine = axis.norm()
    vector = axis * (torch.atan2(sine, normal[2]) / sine.clamp(min=1e-9))
    rotation = skinning.rotation_matrices(vector)
    return rotation, float(plane[2] * normal[2])
