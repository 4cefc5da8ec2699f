"""Where a fit starts: several guesses for each moment, and the path through them that is most likely.

From one side a body that leans towards the camera looks like one that leans away, and one seen from the front like one seen from behind.
So poses of the prior are looked at from all sides, and those that look most like the keypoints are kept, one for each side that the
person may face. Turns in the picture's plane, size and place need no search: they have a closed form (a complex Procrustes problem).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mprl.motion.body import skinning
from mprl.motion.fitting import paths
from mprl.motion.fitting.cameras import LEVEL, Cameras
from mprl.motion.fitting.objective import Evidence, Objective, Parameters
from mprl.motion.fitting.points import BodyPoints

SIDES = 8  # guesses for each moment and view
_YAWS = 2 * SIDES
_ELEVATIONS = (-1.0, -0.45, 0.0, 0.45, 1.0)  # rad
_UPRIGHT = 0.01  # how much worse upside down is than upright, as a share of the picture's variance
_AT_ONCE = 32  # moments
_UNUSUAL = 0.02  # the same for views from high above or below


def directions() -> tuple[Tensor, Tensor, Tensor]:
    """How bodies may stand before a level camera: rotations (D, 3, 3), the side each faces (D,), and its elevation (D,) rad."""
    yaw = torch.arange(_YAWS) * (2 * math.pi / _YAWS)
    elevation = torch.tensor(_ELEVATIONS)
    turn = skinning.rotation_matrices(torch.stack((0 * yaw, 0 * yaw, yaw), dim=-1))
    tilt = skinning.rotation_matrices(torch.stack((0 * elevation, elevation, 0 * elevation), dim=-1))
    both = (tilt[:, None] @ turn[None]).flatten(0, 1)
    side = torch.div(torch.arange(_YAWS), _YAWS // SIDES, rounding_mode="floor")
    return both, side.repeat(len(elevation)), elevation.repeat_interleave(_YAWS)


def guesses(points: BodyPoints, evidence: Evidence, cameras: Cameras, poses: Tensor, betas: Tensor) -> Parameters:
    """The poses that look most like the evidence of each view, for each side that the person may face.

    Args:
        points: of the keypoints' layout.
        evidence: of T moments.
        cameras: of V views.
        poses: to choose from, (N, 21, 3) rad.
        betas: (S,).

    Returns:
        Parameters whose first dimension is V SIDES T: (view, side, moment).
    """
    count = len(poses)
    still = torch.eye(3).expand(count, 3, 3)
    nothing = torch.zeros(count, 3)
    shown = points(betas, still, nothing, poses, nothing)[1]
    stands, side, elevation = directions()
    turned = torch.einsum("dij,nkj->dnki", stands, shown)
    models = torch.complex(-turned[..., 1], -turned[..., 2])  # (D, N, K)
    penalty = _UNUSUAL * (elevation.abs() > 0.7).float()
    found = [
        _of_view(models, side, penalty, evidence.seen[v], evidence.confidence[v], stands, poses, cameras, v) for v in range(len(cameras))
    ]
    root, pose, place = (torch.cat(parts).flatten(0, 1) for parts in zip(*found, strict=True))
    return Parameters(betas, torch.zeros(()), root, torch.zeros_like(place), pose, place)


def _of_view(
    models: Tensor, side: Tensor, penalty: Tensor, seen: Tensor, confidence: Tensor, stands: Tensor, poses: Tensor, cameras: Cameras, v: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Root (SIDES, T, 3, 3), pose (SIDES, T, 21, 3) and place (SIDES, T, 3) by one view; T moments at a time."""
    picked = [
        _matches(models, side, penalty, torch.complex(*part.unbind(-1)), weight)
        for part, weight in zip(seen.split(_AT_ONCE), confidence.split(_AT_ONCE), strict=True)
    ]
    which, factor, at = (torch.cat(parts, dim=1) for parts in zip(*picked, strict=True))  # (SIDES, T)
    direction, example = torch.div(which, len(poses), rounding_mode="floor"), which % len(poses)
    focal, centre, rotation = cameras.focal[v], cameras.centre[v], cameras.rotation[v]
    depth = focal / factor.abs().clamp(min=1e-3)
    offset = torch.stack((at.real - centre[0], at.imag - centre[1]), dim=-1) / focal
    in_camera = torch.cat((offset, torch.ones_like(offset[..., :1])), dim=-1) * depth.unsqueeze(-1)
    place = (in_camera - cameras.translation[v]) @ rotation
    to_world = rotation.T @ torch.tensor(LEVEL)
    roll = torch.stack((factor.angle(), *2 * (torch.zeros_like(depth),)), dim=-1)
    # who stands beside the axis is seen from another side: turn with the ray
    aside = torch.stack((torch.zeros_like(depth), offset[..., 1].atan(), -offset[..., 0].atan()), dim=-1)
    root = to_world @ skinning.rotation_matrices(aside) @ skinning.rotation_matrices(roll) @ stands[direction]
    return root, poses[example], place


def _matches(models: Tensor, side: Tensor, penalty: Tensor, seen: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best model for each side, the factor (size and turn) that takes it to what is seen, and where its origin comes to lie."""
    total = weight.sum(dim=1).clamp(min=1e-6)[:, None]
    flat = models.flatten(0, 1)  # (D N, K)
    w = weight.to(flat.dtype)
    mean_seen = (weight * seen).sum(dim=1, keepdim=True) / total
    centred = w * (seen - mean_seen)
    product = centred @ flat.conj().T  # (T, D N)
    mean_model = (w @ flat.T) / total
    own = (weight @ flat.abs().square().T - total * mean_model.abs().square()).clamp(min=1e-6)
    variance = (weight * (seen - mean_seen).abs().square()).sum(dim=1).clamp(min=1e-6)[:, None]
    factor = product / own
    left = 1 - product.abs().square() / (own * variance)
    upright = _UPRIGHT * (1 - torch.cos(factor.angle()))
    cost = (left + upright).unflatten(1, models.shape[:2]) + penalty[None, :, None]
    chosen = []
    for one in range(SIDES):
        mine = (side == one).nonzero().squeeze(1)
        best = cost[:, mine].flatten(1).argmin(dim=1)
        chosen.append(mine[torch.div(best, models.shape[1], rounding_mode="floor")] * models.shape[1] + best % models.shape[1])
    which = torch.stack(chosen)  # (SIDES, T)
    rows = torch.arange(len(seen))
    factors = factor[rows, which]
    return which, factors, mean_seen[:, 0] - factors * mean_model[rows, which]


def best_path(objective: Objective, found: Parameters, steps: Tensor) -> Tensor:
    """The frames of `found`, (T,), on the likeliest path.

    Args:
        objective: of the guesses, all (G T) as frames.
        found: the guesses, (G T).
        steps: between moments, (T − 1,) s.
    """
    moments = len(steps) + 1
    with torch.no_grad():
        energy = objective.of_frames(found).unflatten(0, (-1, moments))
        joints = objective.placed(found)[0].unflatten(0, (-1, moments))
    joints = joints - 0.7 * joints[:, :, :1]  # depth is less sure than the pose
    return torch.tensor(paths.likeliest(energy, joints, steps)) * moments + torch.arange(moments)
