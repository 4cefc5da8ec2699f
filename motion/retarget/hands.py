"""Hands that bend where they would reach into the floor, as a wrist does under a cartwheel or a crawl."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.retarget.target import CORNERS, Target, is_below
from mprl.motion.retarget.transfer import Wanted

_FURTHEST = np.radians(100.0)


@dataclass(frozen=True)
class Hand:
    """A hand that can bend at its wrist: the bodies from the wrist on, which way they reach at rest in the wrist's frame, and how far."""

    wrist: int
    bodies: tuple[int, ...]
    along: Tensor
    length: float
    thickness: float


def hands(target: Target) -> tuple[Hand, ...]:
    """Those of a character that have a wrist joint and shapes."""
    found, model = [], target.model
    for side in ("left", "right"):
        wrist = target.roles.get(f"{side}_wrist")
        if target.character is None or wrist is None or not model.body_jntnum[wrist]:
            continue
        bodies = tuple(body for body in range(1, model.nbody) if is_below(model, body, wrist))
        corners, halves = [], []
        for geom in range(model.ngeom):
            body = int(model.geom_bodyid[geom])
            if body in bodies:
                box = torch.as_tensor(model.geom_aabb[geom, :3] + CORNERS * model.geom_aabb[geom, 3:])
                turned = rot.rotate(torch.as_tensor(model.geom_quat[geom].copy()).expand(8, 4), box) + torch.as_tensor(model.geom_pos[geom])
                corners.append(target.rest.position[0, body] + rot.rotate(target.rest.rotation[0, body].expand(8, 4), turned))
                halves.append(float(model.geom_aabb[geom, 3:].min()))
        if corners:
            arms = torch.cat(corners) - target.rest.position[0, wrist]
            along = rot.unit(arms.mean(dim=0))
            local = rot.rotate(rot.conjugate(target.rest.rotation[0, wrist]), along)
            found.append(Hand(wrist, bodies, local, float((arms @ along).max()), max(halves)))
    return tuple(found)


def bent(target: Target, wanted: Wanted, qpos: Tensor) -> Wanted:
    """The same, with hands turned upwards in their wrists as far as the floor asks for.

    Args:
        target: whose hands. wanted: as it is. qpos: the pose that makes of it, on its floor at z = 0, (T, nq).
    """
    rotation, poses = wanted.rotation.clone(), target.poses(qpos)
    for hand in hands(target):
        columns = [m for m, body in enumerate(wanted.bodies) if body in hand.bodies]
        if hand.wrist not in wanted.bodies:
            continue
        along = rot.rotate(poses.rotation[:, hand.wrist], hand.along.expand(len(qpos), 3))
        height = poses.position[:, hand.wrist, 2]
        least = torch.asin(((hand.thickness - height) / hand.length).clamp(-1.0, 0.0))  # elevation at which the fingertips touch
        angle = (least - torch.asin(along[:, 2].clamp(-1.0, 1.0))).clamp(0.0, _FURTHEST)
        up = torch.tensor([0.0, 0.0, 1.0], dtype=along.dtype).expand_as(along)
        # of a hand that points straight down any axis will do; its back's own, so that it does not jump
        side = rot.rotate(poses.rotation[:, hand.wrist], torch.tensor([1.0, 0.0, 0.0], dtype=along.dtype).expand_as(along))
        axis = rot.unit(torch.linalg.cross(along, up) + 1e-3 * torch.linalg.cross(along, side))
        turn = rot.from_axis_angle(axis, angle)
        for column in columns:
            rotation[:, column] = rot.multiply(turn, rotation[:, column])
    return replace(wanted, rotation=rotation)
