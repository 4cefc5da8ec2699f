"""What is moved: a character's model, or one made for a bare skeleton, and which of its bodies is which joint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, PARENTS
from mprl.motion.characters.character import Character
from mprl.motion.characters.find import find_character
from mprl.motion.clip import Array, Skeleton
from mprl.motion.retarget import names

_BALL, _HINGE = int(mujoco.mjtJoint.mjJNT_BALL), int(mujoco.mjtJoint.mjJNT_HINGE)
_SPHERE, _CAPSULE, _BOX = (int(g) for g in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_BOX))
CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_SOLE = 0.025  # m below the lowest joint of a bare skeleton's feet


@dataclass(frozen=True)
class Poses:
    """Where everything is, for T poses: bodies (T, B, 3) and (T, B, 4), joints' anchors and axes (T, joints, 3); body 0 is the world."""

    position: Tensor
    rotation: Tensor
    anchor: Tensor
    axis: Tensor


@dataclass(frozen=True)
class Target:
    """A model with a free root and ball joints or hinges, to be posed.

    Attributes:
        name: for messages.
        skeleton: of the clips that move it.
        model: MuJoCo's. bodies: of each joint of the skeleton, its number in the model.
        roles: which body (its number in the model) is which of SMPL's joints.
        soles: for the left and the right foot, points that can touch the floor: (body, place in its frame (3,)).
        character: where it is one.
    """

    name: str
    skeleton: Skeleton
    model: mujoco.MjModel
    bodies: tuple[int, ...]
    roles: Mapping[str, int]
    soles: tuple[tuple[tuple[int, Array], ...], tuple[tuple[int, Array], ...]]
    character: Character | None = None

    @cached_property
    def rest(self) -> Poses:
        """The pose in which all joints are at rest and the root is not turned; one row."""
        qpos = torch.as_tensor(self.model.qpos0.copy())[None]
        qpos[0, :7] = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        return self.poses(qpos)

    def poses(self, qpos: Tensor) -> Poses:
        """Forward kinematics by MuJoCo, (T, nq) -> T rows."""
        batch = Batch(self.model, len(qpos))
        batch.bind("qpos")[:] = qpos.numpy()
        fields = [batch.bind(name) for name in ("xpos", "xquat", "xanchor", "xaxis")]
        batch.forward(stage=int(mujoco.mjtStage.mjSTAGE_POS))
        return Poses(*(torch.as_tensor(np.array(field)) for field in fields))

    def rotations(self, poses: Poses) -> Tensor:
        """Rotations of a clip, (T, J, 4): of each body relative to its parent, from where the model has it at rest."""
        parents = torch.as_tensor(self.model.body_parentid[1:].copy(), dtype=torch.long)
        at_rest = torch.as_tensor(self.model.body_quat[1:].copy())
        at_rest[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])  # a free joint's quaternion is the body's
        local = rot.multiply(rot.conjugate(poses.rotation[:, parents]), poses.rotation[:, 1:])
        return rot.unit(rot.multiply(rot.conjugate(at_rest).expand_as(local), local))[:, torch.tensor(self.bodies) - 1]

    def middle(self, body: int) -> Tensor:
        """Where a body's centre of mass is at rest, (3,)."""
        arm = torch.as_tensor(self.model.body_ipos[body].copy())
        return self.rest.position[0, body] + rot.rotate(self.rest.rotation[0, body], arm)

    def sole_points(self, poses: Poses, foot: int) -> Tensor:
        """Where a foot's points are, (T, P, 3)."""
        places = []
        for body, point in self.soles[foot]:
            arm = torch.as_tensor(point).expand(len(poses.position), 3)
            places.append(poses.position[:, body] + rot.rotate(poses.rotation[:, body], arm))
        return torch.stack(places, dim=1)


def target_of(target: Character | Skeleton, own: names.Own | None = None) -> Target:
    """The model and the roles of what shall be moved.

    Args:
        target: a character, or a skeleton all of whose joints are balls.
        own: what the user says its joints are, SMPL's names to its own.

    Raises:
        SettingError, UnknownNameError: its joints cannot be told from their names (`names.find`).
    """
    if isinstance(target, Character):
        spec, name, character = target.spec(), f"character '{target.name}'", target
        body_of = {target.clip_joint(body): body for body in target.body_names}
        skeleton = _in_smpl_order(replace(target.skeleton, names=tuple(target.clip_joint(body) for body in target.skeleton.names)))
    else:
        spec, skeleton, name, character = _spec_of(target), target, "the target skeleton", None
        body_of = {joint: f"{index}" for index, joint in enumerate(target.names)}
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT) | int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
    model = spec.compile()
    bodies = tuple(int(model.body(body_of[joint]).id) for joint in skeleton.names)
    found = names.find(skeleton.names, own, name)
    roles = {joint: bodies[skeleton.names.index(known)] for joint, known in found.items()}
    bare = Target(name, skeleton, model, bodies, roles, ((), ()), character)
    return replace(bare, soles=(_sole(bare, "left"), _sole(bare, "right")))


def target_named(name: str, map: str | Path | None = None) -> Target:
    """A target by the name of its character, "humanoid" or "smpl", or by the path of an MJCF file.

    Raises:
        UnknownNameError, SettingError: no such character, or no such file.
    """
    return target_of(find_character(name), names.read(map)[1] if map is not None else None)


def _in_smpl_order(skeleton: Skeleton) -> Skeleton:
    """A skeleton of SMPL's joints in SMPL's order, as all motions of SMPL have it; any other one as it is."""
    if set(skeleton.names) != set(JOINTS):
        return skeleton
    return Skeleton(JOINTS, PARENTS, skeleton.offsets[[skeleton.names.index(joint) for joint in JOINTS]], skeleton.rest_pose)


def _spec_of(skeleton: Skeleton) -> mujoco.MjSpec:
    """A model of nothing but ball joints; its bodies weigh something because MuJoCo wants it so."""
    spec = mujoco.MjSpec()
    bodies: list[mujoco.MjsBody] = []
    for joint, (parent, offset) in enumerate(zip(skeleton.parents, skeleton.offsets, strict=True)):
        body = (bodies[parent] if joint else spec.worldbody).add_body(name=f"{joint}", pos=offset)
        body.add_joint(name=f"{joint}", type=mujoco.mjtJoint.mjJNT_BALL if joint else mujoco.mjtJoint.mjJNT_FREE)
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.01, 0, 0])
        bodies.append(body)
    return spec


def _sole(target: Target, side: str) -> tuple[tuple[int, Array], ...]:
    """The lowest points of a foot at rest: of the shapes below the ankle, or of a plain sole where there are none."""
    model, rest = target.model, target.rest
    ankle, toe = target.roles[f"{side}_ankle"], target.roles.get(f"{side}_foot")
    position, rotation = rest.position[0], rest.rotation[0]
    if target.character is None:
        return _plain_sole(target, side, ankle, toe)
    points = []
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        if not is_below(model, body, ankle):
            continue
        for local in _low_points(model, geom, rotation[body]):
            place = position[body] + rot.rotate(rotation[body], torch.as_tensor(local))
            points.append((float(place[2]), body, local))
    if not points:
        return _plain_sole(target, side, ankle, toe)
    lowest = min(height for height, _, _ in points)
    return tuple((body, local) for height, body, local in points if height < lowest + 0.03)


def _plain_sole(target: Target, side: str, ankle: int, toe: int | None) -> tuple[tuple[int, Array], ...]:
    position, rotation = target.rest.position[0].numpy(), target.rest.rotation[0]
    feet = [target.roles[f"{s}_{joint}"] for s in ("left", "right") for joint in ("ankle", "foot") if f"{s}_{joint}" in target.roles]
    floor = min(position[body][2] for body in feet) - _SOLE
    length = abs(position[target.roles[f"{side}_knee"]][2] - position[ankle][2]) * 0.5
    ahead = np.array([1.0, 0.0, 0.0])
    if toe is not None:
        ahead = (position[toe] - position[ankle]) * [1, 1, 0]
        length = max(float(np.linalg.norm(ahead)), 1e-6)
        ahead = ahead / length
    heel, ball = (position[ankle] * [1, 1, 0] + along * length * ahead + [0, 0, floor] for along in (-0.3, 1.0))
    spots = [(ankle, heel), (ankle, ball)]
    if toe is not None:
        spots.append((toe, ball + 0.4 * length * ahead))

    def local(body: int, place: Array) -> Array:
        return rot.rotate(rot.conjugate(rotation[body]), torch.as_tensor(place - position[body])).numpy()

    return tuple((body, local(body, place)) for body, place in spots)


def is_below(model: mujoco.MjModel, body: int, above: int) -> bool:
    """Whether a body is another one, or hangs from it."""
    while body > above:
        body = int(model.body_parentid[body])
    return body == above


def _low_points(model: mujoco.MjModel, geom: int, rotation: Tensor) -> list[Array]:
    """Of a shape, what is lowest at rest, in its body's frame: corners of a box, the undersides of a capsule's ends, ..."""
    kind, size, centre = int(model.geom_type[geom]), model.geom_size[geom], model.geom_pos[geom]
    flat = np.zeros(9)
    mujoco.mju_quat2Mat(flat, model.geom_quat[geom])
    matrix = flat.reshape(3, 3)
    down = rot.rotate(rot.conjugate(rotation), torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)).numpy()
    if kind == _SPHERE:
        return [centre + size[0] * down]
    if kind == _CAPSULE:
        return [centre + end * size[1] * matrix[:, 2] + size[0] * down for end in (-1.0, 1.0)]
    half, middle = (size, np.zeros(3)) if kind == _BOX else (model.geom_aabb[geom, 3:], model.geom_aabb[geom, :3])
    corners = centre + (middle + CORNERS * half) @ matrix.T
    return sorted(corners, key=lambda corner: -float(corner @ down))[:4]
