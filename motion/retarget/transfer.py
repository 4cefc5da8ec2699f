"""How every part of the source is turned, carried over to the target as if both stood alike at rest.

A source joint that is turned by R from its rest pose turns the target's body by R A, where A takes the target's rest pose to the
source's: the facing of the whole body, and for the long bones the shortest turn from one bone's direction to the other's, which is
what lies between a T-pose, an A-pose and arms along the sides. Feet are flat at rest in every rig, so only where they point counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import kinematics
from mprl.motion import rotations as rot
from mprl.motion.clip import MotionClip
from mprl.motion.retarget.target import Target

SPINE = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
_BONES = {f"{side}_{a}": f"{side}_{b}" for side in ("left", "right")
          for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))}  # fmt: skip
_FOLLOWS = {f"{side}_{a}": f"{side}_{b}" for side in ("left", "right") for a, b in (("wrist", "elbow"), ("hand", "elbow"))}
_TOES = {f"{side}_foot": f"{side}_ankle" for side in ("left", "right")}
_AHEAD = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
_IDENTITY = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)


@dataclass(frozen=True)
class Wanted:
    """Where the target should be, for T frames.

    Attributes:
        bodies: numbers of the bodies in the model whose rotation is known. rotation: theirs in the world, (T, M, 4).
        bone: which way each one's bone points at rest, in the body's frame, (M, 3); 0 where it is no long bone.
        hips: the middle between the hip joints, (T, 3) m. ankles: left and right, (T, 2, 3) m.
        scale: how much longer the target's legs are.
    """

    bodies: tuple[int, ...]
    rotation: Tensor
    bone: Tensor
    hips: Tensor
    ankles: Tensor
    scale: float


def transfer(clip: MotionClip, source: dict[str, str], target: Target) -> Wanted:
    """What a clip asks of the target.

    Args:
        clip: any motion.
        source: what its skeleton calls SMPL's joints.
        target: whom to move.

    Raises:
        SettingError: a rest pose that has no sides, no height or no legs.
    """
    index = {joint: clip.skeleton.names.index(name) for joint, name in source.items()}
    position, rotation = kinematics.forward_kinematics(
        clip.skeleton, torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy())
    )
    still = _IDENTITY.expand(1, len(clip.skeleton.names), 4)
    rest_source = kinematics.forward_kinematics(clip.skeleton, torch.zeros(1, 3, dtype=torch.float64), still)[0][0]
    at_source = {joint: rest_source[i] for joint, i in index.items()}
    at_target = {joint: target.rest.position[0, body] for joint, body in target.roles.items()}
    for side in ("left", "right"):  # where a forearm goes, of a body that has no hand
        elbow, wrist = f"{side}_elbow", f"{side}_wrist"
        if elbow in at_source and wrist not in at_source and index[elbow] in clip.skeleton.parents:
            at_source[wrist] = rest_source[clip.skeleton.parents.index(index[elbow])]
        if elbow in at_target and wrist not in at_target:
            at_target[wrist] = target.middle(target.roles[elbow])
    for whose, places in ((clip.name, at_source), (target.name, at_target)):
        _check_stands(whose, places)
    facing = rot.multiply(frame(at_source), rot.conjugate(frame(at_target)))
    turns = _alignment(at_source, at_target, facing)

    bodies, rotations, bones = [], [], []
    for joint, body in target.roles.items():
        turned = _source_rotation(joint, index, rotation)
        if turned is None and joint in _TOES:
            ankle = index[_TOES[joint]]
            turned = _level_toes(rotation[:, ankle], position[:, ankle, 2], rot.rotate(frame(at_source), _AHEAD))
        if turned is None:
            continue
        to_rest = rot.multiply(turns.get(joint, facing), target.rest.rotation[0, body])
        bodies.append(body)
        rotations.append(rot.multiply(turned, to_rest.expand_as(turned)))
        end = _BONES.get(joint)
        bone = torch.zeros(3, dtype=torch.float64)
        if end in at_target:
            bone = rot.rotate(rot.conjugate(target.rest.rotation[0, body]), rot.unit(at_target[end] - at_target[joint]))
        bones.append(bone)

    scale = leg_length(at_target) / leg_length(at_source)
    ankles = position[:, [index["left_ankle"], index["right_ankle"]]]
    hips = position[:, [index["left_hip"], index["right_hip"]]].mean(dim=1)
    lowest = ankles[..., 2].amin(dim=1).quantile(0.1)  # an ankle above a foot that stands
    origin = torch.stack((position[0, 0, 0], position[0, 0, 1], lowest))
    floor = min(float(point[2]) for foot in (0, 1) for point in target.sole_points(target.rest, foot)[0])
    above = 0.5 * float(at_target["left_ankle"][2] + at_target["right_ankle"][2]) - floor
    lift = origin * torch.tensor([1.0, 1.0, 0.0]) + torch.tensor([0.0, 0.0, above])
    scaled = (scale * (hips - origin) + lift, scale * (ankles - origin) + lift)
    return Wanted(tuple(bodies), torch.stack(rotations, dim=1), torch.stack(bones), *scaled, scale)


def frame(places: dict[str, Tensor]) -> Tensor:
    """How a rest pose stands, as a rotation from a body that faces +x with its head up: from its hips and its spine; wxyz."""
    from scipy.spatial.transform import Rotation

    return torch.as_tensor(Rotation.from_matrix(_axes(places).numpy()).as_quat(scalar_first=True))


def _check_stands(whose: str, places: dict[str, Tensor]) -> None:
    if not (float(torch.linalg.det(_axes(places))) > 0.5 and leg_length(places) > 1e-6):
        raise SettingError(
            f"{whose}: the rest pose has its hips at one place, no height or no legs; expected a person's: is the map of joints right?"
        )


def _axes(places: dict[str, Tensor]) -> Tensor:
    """Ahead, left and up of a rest pose as columns, (3, 3)."""
    left = _snapped(places["left_hip"] - places["right_hip"])
    top = next((places[joint] for joint in ("neck", "head", "spine3") if joint in places), None)
    middle = 0.5 * (places["left_hip"] + places["right_hip"])
    up = top - middle if top is not None else middle - 0.5 * (places["left_ankle"] + places["right_ankle"])
    up = _snapped(up - (up @ left) * left)
    return torch.stack((torch.linalg.cross(left, up), left, up), dim=1)


def leg_length(places: dict[str, Tensor]) -> float:
    """From hip over knee to ankle, the mean of both sides, m."""
    total = 0.0
    for side in ("left", "right"):
        hip, knee, ankle = (places[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        total += 0.5 * float((hip - knee).norm() + (knee - ankle).norm())
    return total


def shortest_turn(a: Tensor, b: Tensor) -> Tensor:
    """The rotation by the least angle that turns direction a to b, (3,) each -> (4,)."""
    a, b = rot.unit(a), rot.unit(b)
    if float(a @ b) < -1 + 1e-9:  # any axis across
        across = torch.linalg.cross(a, torch.eye(3, dtype=a.dtype)[int(a.abs().argmin())])
        return rot.from_axis_angle(rot.unit(across), torch.tensor(np.pi, dtype=a.dtype))
    return rot.unit(torch.cat(((1 + a @ b).reshape(1), torch.linalg.cross(a, b))))


def _alignment(at_source: dict[str, Tensor], at_target: dict[str, Tensor], facing: Tensor) -> dict[str, Tensor]:
    """For the limbs: the turn from the target's rest pose to the source's, (4,) each."""
    turns = {}
    for joint, end in _BONES.items():
        if all(name in places for name in (joint, end) for places in (at_source, at_target)):
            ours = rot.rotate(facing, at_target[end] - at_target[joint])
            turns[joint] = rot.multiply(shortest_turn(ours, at_source[end] - at_source[joint]), facing)
    for joint, elbow in _FOLLOWS.items():
        if elbow in turns:
            turns[joint] = turns[elbow]
    level = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    up = rot.rotate(frame(at_source), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    for side in ("left", "right"):
        ankle, toe = f"{side}_ankle", f"{side}_foot"
        ahead = rot.rotate(frame(at_source), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
        if toe in at_source:
            ahead = at_source[toe] - at_source[ankle]
            ahead = ahead - (ahead @ up) * up
        ours = rot.rotate(frame(at_target), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
        if toe in at_target:
            ours = (at_target[toe] - at_target[ankle]) * level
        turns[ankle] = rot.multiply(shortest_turn(rot.rotate(facing, ours), ahead), facing)
        turns[toe] = turns[ankle]
    return turns


def _source_rotation(joint: str, index: dict[str, int], rotation: Tensor) -> Tensor | None:
    """How a joint of SMPL's is turned, (T, 4): as in the source; along the spine, between those that the source has."""
    if joint in index:
        return rotation[:, index[joint]]
    if joint not in SPINE:
        return None
    at = SPINE.index(joint)
    below = [i for i in range(at) if SPINE[i] in index]
    above = [i for i in range(at + 1, len(SPINE)) if SPINE[i] in index]
    if not below or not above:
        return rotation[:, index[SPINE[(below or above)[-1 if below else 0]]]] if below or above else None
    share = (at - below[-1]) / (above[0] - below[-1])
    first, second = rotation[:, index[SPINE[below[-1]]]], rotation[:, index[SPINE[above[0]]]]
    return rot.slerp(first, second, torch.tensor(share, dtype=first.dtype))


def _level_toes(foot: Tensor, height: Tensor, ahead: Tensor) -> Tensor:
    """Toes of a rig that has none, (T, 4): they bend as the heel rises, by 60° at most, where the foot is near the floor.

    Args:
        foot: the source's foot in the world, (T, 4). height: of its ankle, (T,) m. ahead: where it points at rest, (3,).
    """
    pointing = rot.rotate(foot, ahead.expand(len(foot), 3))
    near = (1.5 - (height - height.min()) / 0.3).clamp(0.0, 1.0)
    bend = near * (-pointing[:, 2]).clamp(0.0, 1.0).asin().clamp(max=np.radians(60.0))
    across = torch.linalg.cross(pointing, torch.tensor([0.0, 0.0, 1.0], dtype=foot.dtype).expand_as(pointing))
    across = across / across.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return rot.multiply(rot.from_axis_angle(across, bend), foot)


def _snapped(direction: Tensor) -> Tensor:
    """A unit vector; the axis that it is within 25° of, where it is: people stand straight at rest, only rigs lean."""
    direction = rot.unit(direction)
    axis = torch.zeros(3, dtype=direction.dtype)
    axis[int(direction.abs().argmax())] = torch.sign(direction[int(direction.abs().argmax())])
    return axis if float(axis @ direction) > np.cos(np.radians(25.0)) else direction
