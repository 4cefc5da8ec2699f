"""Arms and legs tried anew: seen from one camera, each bone of a limb may as well point towards it as away from it.

The trunk stays as it is. For each moment and limb, poses of the prior are put in place of the limb, and for each of the four ways that
its two bones can point (towards and away) the one that looks most like the keypoints is kept. All are improved a little, and the
likeliest path over time, through them and the limb as it was, is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mprl.motion.body import skinning
from mprl.motion.body.joints import JOINTS, PARENTS
from mprl.motion.fitting import paths
from mprl.motion.fitting.objective import Objective, Parameters
from mprl.motion.fitting.terms import geman_mcclure

_TREE = skinning.Tree(PARENTS)
WAYS = 4


@dataclass(frozen=True)
class Limb:
    """A chain of joints that hangs on the trunk; its two bones are between the last three of `bones`."""

    trunk: str
    joints: tuple[str, ...]
    bones: tuple[str, str, str]
    marks: tuple[str, ...]


LIMBS = tuple(
    limb
    for side in ("left", "right")
    for limb in (
        Limb("spine3", tuple(f"{side}_{j}" for j in ("collar", "shoulder", "elbow", "wrist")),
             tuple(f"{side}_{j}" for j in ("shoulder", "elbow", "wrist")), (f"{side}_hand",)),  # type: ignore[arg-type]
        Limb("pelvis", tuple(f"{side}_{j}" for j in ("hip", "knee", "ankle", "foot")),
             tuple(f"{side}_{j}" for j in ("hip", "knee", "ankle")), tuple(f"{side}_{m}" for m in ("big_toe", "small_toe", "heel"))),  # type: ignore[arg-type]
    )
)  # fmt: skip


def retried(objective: Objective, p: Parameters, poses: Tensor, improve: Callable[[Objective, Parameters], Parameters]) -> Parameters:
    """Parameters with limbs exchanged where another way is likelier.

    Args:
        objective: of the moments that `p` is of.
        p: a fit, (T).
        poses: of the prior, to choose limbs from, (N, 21, 3) rad.
        improve: of an objective and parameters, each frame by itself.
    """
    moments = len(p.pose)
    candidates = [_candidates(objective, p, poses, limb) for limb in LIMBS]
    tried = torch.cat([pose for found in candidates for pose in found])
    times = len(tried) // moments
    evidence, steps = objective.evidence.repeated(times), objective.evidence.steps()
    many = Objective(objective.points, evidence, objective.cameras, objective.prior, objective.weights)
    better = improve(many, _repeated(p, times)._replace(pose=tried))
    with torch.no_grad():
        energy = many.of_frames(better).view(len(LIMBS), WAYS, moments)
        joints = many.placed(better)[0].view(len(LIMBS), WAYS, moments, len(JOINTS), 3)
        now_energy, now_joints = objective.of_frames(p), objective.placed(p)[0]
    pose, poses_better = p.pose.clone(), better.pose.view(len(LIMBS), WAYS, moments, *p.pose.shape[1:])
    for index, limb in enumerate(LIMBS):
        at = [JOINTS.index(name) for name in limb.joints]
        places = torch.cat((now_joints[None], joints[index]))[:, :, at]
        path = paths.likeliest(torch.cat((now_energy[None], energy[index])), places - now_joints[None, :, :1], steps)
        for t, way in enumerate(path):
            if way:
                rows = [joint - 1 for joint in at]
                pose[t, rows] = poses_better[index, way - 1, t, rows]
    return p._replace(pose=pose)


def _repeated(p: Parameters, times: int) -> Parameters:
    return p._replace(
        root=p.root.repeat(times, 1, 1), turn=p.turn.repeat(times, 1), pose=p.pose.repeat(times, 1, 1), place=p.place.repeat(times, 1)
    )


def _candidates(objective: Objective, p: Parameters, poses: Tensor, limb: Limb) -> Tensor:
    """The pose with this limb each of four ways, (WAYS, T, 21, 3)."""
    points, e = objective.points, objective.evidence
    rows = [JOINTS.index(name) - 1 for name in limb.joints]
    count, nothing = len(poses), torch.zeros(len(poses), 3)
    alone = torch.zeros_like(poses)
    alone[:, rows] = poses[:, rows]
    joints, marks = points(p.betas, torch.eye(3).expand(count, 3, 3), nothing, alone, nothing)
    names = [name for name in points.names if name in limb.bones[1:] or name in limb.marks]
    mine = [points.names.index(name) for name in names]
    chain = [JOINTS.index(name) for name in limb.bones]
    trunk = JOINTS.index(limb.trunk)
    local = torch.cat((marks[:, mine], joints[:, chain]), dim=1) - joints[:, trunk : trunk + 1]  # (N, P + 3, 3)
    with torch.no_grad():
        world, place = _trunk(objective, p, trunk)
        there = torch.einsum("tij,npj->tnpi", world, local) + place[:, None, None]
        cameras = replace(objective.cameras, focal=objective.cameras.focal * p.log_focal.exp())
        pixels, depth = cameras.project(there)  # (V, T, N, P + 3)
        seen, confidence = e.seen[:, :, None, mine], e.confidence[:, :, None, mine]
        squared = ((pixels[..., : len(mine), :] - seen) / e.deviation.view(-1, 1, 1, 1, 1)).square().sum(dim=-1)
        cost = 0.5 * (confidence.square() * geman_mcclure(squared, 40.0)).sum(dim=(0, 3))  # (T, N)
        away = depth[0, ..., -2:] > depth[0, ..., -3:-1]  # (T, N, 2)
        way = 2 * away[..., 0].long() + away[..., 1].long()
        found = []
        for one in range(WAYS):
            best = cost.masked_fill(way != one, torch.inf).argmin(dim=1)
            pose = p.pose.clone()
            pose[:, rows] = poses[best][:, rows]
            found.append(pose)
    return torch.stack(found)


def _trunk(objective: Objective, p: Parameters, joint: int) -> tuple[Tensor, Tensor]:
    """Rotation (T, 3, 3) and place (T, 3) of a joint of the trunk."""
    local = torch.eye(3).repeat(len(p.pose), len(JOINTS), 1, 1)
    local[:, 0] = p.turned()
    local[:, 1 : 1 + p.pose.shape[1]] = skinning.rotation_matrices(p.pose)
    world, _ = skinning.forward_kinematics(local, torch.zeros(len(p.pose), len(JOINTS), 3), _TREE)
    return world[:, joint], objective.placed(p)[0][:, joint]
