"""The SMPL body made physical: 24 links and 23 ball joints, so that SMPL's axis-angle pose is state and PD target alike.

    character = SmplCharacter(betas)
    character.model                      # 75 degrees of freedom, 69 of them actuated

Made from a body model (`motion/body/smpl.py`) for any shape. Every frame is aligned with the world in the T-pose that faces +x, so
a joint's rotation in MuJoCo is SMPL's, with its axes renamed (`motion/body/joints.py`). Masses, centres and inertias are those of the
mesh's parts, of the density of living people; shapes are fitted to the skin: boxes for feet and hands, capsules for all else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mprl.errors import SettingError, unknown_name
from mprl.motion.body.joints import JOINTS, PARENTS
from mprl.motion.body.smpl import SmplBody
from mprl.motion.characters.character import Character
from mprl.motion.characters.physique import Physique, measure
from mprl.motion.clip import MotionClip

GENDERS = ("neutral", "female", "male")


class _Joint(NamedTuple):
    """Of a person of 70 kg and 1.70 m; stiffness, damping and torque grow with weight x height."""

    kp: float  # N m/rad; kd is kp x .1 s
    torque: float  # limit for each axis, N m
    armature: float  # kg m²
    bend: float  # furthest turn from the T-pose about any axis, degrees; 180: no limit
    weight: float  # in the pose and velocity errors


# DeepMimic's humanoid (45 kg) brought to 70 kg has kp 780 and 310 N m at the hip, 780 and 230 at the knee, 620 and 140 at the ankle, 1560
# and 310 at the chest, 620 and 160 at the shoulder, 470 and 90 at the elbow; PHC's SMPL humanoid has kp 800 in the legs, 500 at the
# toes, 1000 in the spine, 500 at collar, neck, head, shoulder and elbow, 300 at the hands, and kd = kp / 10 everywhere. What DeepMimic
# has in one joint (chest, neck) is shared by SMPL's. With 800 at the ankle all shapes stand by PD control alone, with 600 they fall.
_TABLE = {
    "hip": _Joint(800, 310, 0.02, 150, 0.5),
    "knee": _Joint(800, 235, 0.02, 165, 0.3),
    "ankle": _Joint(800, 140, 0.01, 90, 0.2),
    "foot": _Joint(300, 60, 0.01, 90, 0.05),
    "spine1": _Joint(1500, 310, 0.02, 75, 0.2),
    "spine2": _Joint(1500, 310, 0.02, 75, 0.15),
    "spine3": _Joint(1500, 310, 0.02, 75, 0.15),
    "neck": _Joint(300, 80, 0.01, 75, 0.15),
    "head": _Joint(300, 80, 0.01, 75, 0.15),
    "collar": _Joint(800, 200, 0.02, 75, 0.1),
    "shoulder": _Joint(600, 155, 0.02, 180, 0.3),
    "elbow": _Joint(450, 95, 0.01, 165, 0.2),
    "wrist": _Joint(200, 40, 0.01, 110, 0.1),
    "hand": _Joint(100, 20, 0.01, 110, 0.05),
}
_DAMPING = 0.1  # kd / kp, s
_REFERENCE = 70.0 * 1.70  # kg m
_ALONG = np.eye(3)
_FLOOR, _LIMB = 1, 2  # collision bits


@dataclass(frozen=True, eq=False)
class SmplCharacter(Character):
    """A body of one shape as a character; bodies and joints have SMPL's names.

    Ball joints know one limit, the angle from the T-pose about whatever axis: knees, elbows, ankles and so on are kept within the
    furthest turn that people reach (`_TABLE`); that a knee bends one way only is left to the motion that is imitated.

    Args:
        betas: shape, (S,), S as many as the body has; by default its mean.
        gender: "neutral", "female" or "male": of SMPL's own files. The free body is neutral.
        body: the body model; by default the one that ships with the package, or of another gender the user's SMPL.
        self_collision: whether limbs collide with each other, except those that touch in the T-pose. Off as for the humanoid: references
            overlap themselves here and there, and contacts take time.

    Raises:
        SettingError: betas of the wrong count or not finite, or a body that cannot be made physical.
        UnknownNameError: no such gender.
    """

    name: str = field(default="smpl", init=False)
    xml: Path = field(default=Path("smpl"), init=False, repr=False)  # made, not read
    feet: tuple[str, ...] = field(default=("right_ankle", "left_ankle", "right_foot", "left_foot"), init=False, repr=False)
    hands: tuple[str, ...] = field(default=("right_hand", "left_hand"), init=False, repr=False)
    head: str = field(default="head", init=False, repr=False)
    joint_weights: dict[str, float] = field(init=False, repr=False)
    betas: Any = None
    gender: str = "neutral"
    body: SmplBody | None = field(default=None, repr=False)
    self_collision: bool = False
    # 69 actuators disturb as much as the humanoid's 28 do with .5, if actions are noise of the same standard deviation
    residual_scale: ClassVar[float] = 0.3

    def __post_init__(self) -> None:
        if self.gender not in GENDERS:
            raise unknown_name("gender", str(self.gender), GENDERS, f"known: {', '.join(GENDERS)}")
        body = self.body
        if body is None:
            body = SmplBody.default() if self.gender == "neutral" else SmplBody.load("smpl", gender=self.gender)
        betas = shape_of(np.zeros(body.num_betas) if self.betas is None else self.betas, body.num_betas)
        if betas.ndim != 1:
            raise SettingError(f"betas: expected {body.num_betas} numbers, found an array of shape {betas.shape}")
        weights = {"pelvis": 1.0} | {name: _of(name).weight for name in JOINTS[1:]}
        for key, value in (("body", body), ("betas", betas), ("joint_weights", weights)):
            object.__setattr__(self, key, value)

    @cached_property
    def physique(self) -> Physique:
        """What was measured of the body."""
        return measure(self._body, torch.tensor(self.betas)[None])[0]

    @property
    def _body(self) -> SmplBody:
        assert self.body is not None  # the default was put in its place
        return self.body

    def others(self, betas: NDArray[np.float64]) -> list[SmplCharacter]:
        """Characters of the same body with other shapes, (B, S), measured at once."""
        betas = shape_of(betas, self._body.num_betas)
        measure(self._body, torch.tensor(betas))
        return [SmplCharacter(shape, self.gender, self.body, self.self_collision) for shape in betas]

    def check(self, clip: MotionClip) -> None:
        for joint in JOINTS:
            if joint not in clip.skeleton.names:
                raise SettingError(f"{clip.name}: has no joint '{joint}' of the character 'smpl'; retarget it first (mprl motion retarget)")

    def spec(self) -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        spec.modelname = "smpl"
        spec.compiler.degree = False
        option = spec.option
        option.timestep, option.integrator, option.iterations, option.ls_iterations = (
            1 / 120,
            mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
            20,
            20,
        )
        spec.memory = 2**20
        friction = [0.9, 0.005, 0.0001]
        floor = spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05], rgba=[0.55, 0.58, 0.62, 1])
        floor.contype, floor.conaffinity, floor.friction = 0, _FLOOR, friction
        self._add_link(spec, spec.worldbody, 0)
        for geom in spec.geoms[1:]:
            geom.friction, geom.rgba = friction, [0.36, 0.50, 0.74, 1]
            geom.contype, geom.conaffinity = (_FLOOR | _LIMB, _LIMB) if self.self_collision else (_FLOOR, 0)
        if self.self_collision:
            _exclude_what_touches(spec)
        return spec

    def _add_link(self, spec: mujoco.MjSpec, parent: mujoco.MjsBody, joint: int) -> None:
        """The body of a joint and, depth first, of those below it."""
        p, name = self.physique, JOINTS[joint]
        origin = p.joints[joint]
        link = parent.add_body(name=name, pos=origin - (p.joints[PARENTS[joint]] if joint else 0.0))
        link.explicitinertial, link.mass, link.ipos = True, p.mass[joint], p.centre[joint] - origin
        inertia = p.inertia[joint]
        link.fullinertia = [*np.diagonal(inertia), inertia[0, 1], inertia[0, 2], inertia[1, 2]]
        if name in p.capsules:
            ends, radius = p.capsules[name]
            line = ends[1] - ends[0]
            turn, half = _from_z(line), max(0.5 * float(np.linalg.norm(line)), 1e-3)
            link.add_geom(
                name=name, type=mujoco.mjtGeom.mjGEOM_CAPSULE, pos=ends.mean(axis=0) - origin, quat=turn, size=[radius, half, 0], mass=0
            )
        else:
            centre, half_sizes, axes = p.boxes[name]
            turn = Rotation.from_matrix(axes.T).as_quat(scalar_first=True)
            link.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, pos=centre - origin, quat=turn, size=half_sizes, mass=0)
        if joint == 0:
            link.add_freejoint(name=name)
        else:
            self._actuate(spec, link, name)
        for child, above in enumerate(PARENTS):
            if above == joint:
                self._add_link(spec, link, child)

    def _actuate(self, spec: mujoco.MjSpec, link: mujoco.MjsBody, name: str) -> None:
        """A ball joint with kd as its damping, and three position actuators with kp: PD control in the exponential map."""
        about, strength = _of(name), float(self.physique.mass.sum()) * self.physique.height / _REFERENCE
        kp, torque = about.kp * strength, about.torque * strength
        ball = link.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_BALL, armature=about.armature * strength)
        ball.damping = [_DAMPING * kp, 0.0, 0.0]
        if about.bend < 180:
            ball.limited, ball.range = mujoco.mjtLimited.mjLIMITED_TRUE, [0.0, np.radians(about.bend)]
        for letter, axis in zip("xyz", _ALONG, strict=True):
            spec.add_actuator(
                name=f"{name}_{letter}",
                target=name,
                trntype=mujoco.mjtTrn.mjTRN_JOINT,
                gear=[*axis, 0, 0, 0],
                gainprm=[kp, *[0] * 9],
                biasprm=[0, -kp, *[0] * 8],
                biastype=mujoco.mjtBias.mjBIAS_AFFINE,
                forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
                forcerange=[-torque, torque],
            )


def shape_of(betas: Any, count: int) -> NDArray[np.float64]:
    """Betas as an array (..., count).

    Raises:
        SettingError: another count, not numbers, or not finite.
    """
    try:
        array = np.array(betas.tolist() if isinstance(betas, torch.Tensor) else betas, dtype=np.float64)
    except (TypeError, ValueError):
        raise SettingError(f"betas: expected {count} numbers, found {str(betas)[:60]!r}") from None
    if array.ndim not in (1, 2) or array.shape[-1] != count or not array.size:
        found = f"{array.shape[-1]}" if array.ndim in (1, 2) else f"an array of shape {array.shape}"
        raise SettingError(f"betas: expected {count} numbers for a body, found {found}")
    if not np.isfinite(array).all():
        raise SettingError("betas: expected finite numbers, found NaN or infinity")
    return array


def _of(joint: str) -> _Joint:
    """A joint's row of the table."""
    return _TABLE[joint.removeprefix("left_").removeprefix("right_")]


def _from_z(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shortest turn of the z axis along a line, wxyz."""
    length = np.linalg.norm(line)
    if length < 1e-9:
        return np.array([1.0, 0.0, 0.0, 0.0])
    x, y, z = line / length
    turn = np.array([1.0 + z, -y, x, 0.0]) if z > -1 + 1e-9 else np.array([0.0, 1.0, 0.0, 0.0])
    return np.asarray(turn / np.linalg.norm(turn))


def _exclude_what_touches(spec: mujoco.MjSpec) -> None:
    """Let links that overlap in the T-pose pass through each other for good, and those one link apart."""
    model = spec.copy().compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    pairs = {tuple(sorted(int(model.geom_bodyid[g]) for g in contact.geom)) for contact in data.contact}
    for body in range(2, model.nbody):
        grandparent = int(model.body_parentid[model.body_parentid[body]])
        pairs |= {(grandparent, body)} if grandparent else set()
        pairs |= {(body, other) for other in range(body + 1, model.nbody) if model.body_parentid[other] == model.body_parentid[body]}
    for first, second in sorted(pairs):
        if first:
            spec.add_exclude(bodyname1=model.body(first).name, bodyname2=model.body(second).name)
