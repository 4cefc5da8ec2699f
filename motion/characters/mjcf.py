"""A character of the user's own: any MJCF with a free root, and a small file beside it that says what its bodies are.

`robot.xml` is the model; `robot.toml`, beside it, may hold

    feet = ["left_foot", "right_foot"]     # bodies that may touch the ground; by default those without children
    hands = []                             # further bodies whose place matters
    head = "head"                          # by default the root
    kp = 300.0                             # N m/rad, of actuators that the model lacks; by default 10 for each kg
    [weights]                              # of joints in the pose and velocity errors; by default 1 each
    left_hip = 2.0
    [joints]                               # names in the motion files, where they are not the bodies' own
    LeftUpLeg = "left_thigh"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import mujoco

from mprl.errors import SettingError, unknown_name
from mprl.motion.characters.character import Character
from mprl.motion.clip import MotionClip

_KEYS = ("feet", "hands", "head", "kp", "weights", "joints")
_HINGE, _BALL, _FREE = (int(kind) for kind in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_BALL, mujoco.mjtJoint.mjJNT_FREE))
_AXES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@dataclass(frozen=True)
class MjcfCharacter(Character):
    """A character from a user's MJCF; see `load_character`.

    Attributes:
        actuator_kp: of the actuators that are made where the model has none, N m/rad; None: 10 for each kg.
        clip_joints: what motion files call a body, where it is not its own name.
    """

    actuator_kp: float | None = None
    clip_joints: dict[str, str] = field(default_factory=dict)

    def spec(self) -> mujoco.MjSpec:
        """The model with a floor, names for all joints, position actuators and nothing that only a viewer or a sensor needs."""
        spec = mujoco.MjSpec.from_file(str(self.xml))
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        for sensor in list(spec.sensors):  # they may need accelerations, which a control step does not compute
            spec.delete(sensor)
        for number, body in enumerate(spec.bodies[1:], start=1):
            body.name = body.name or f"body{number}"
            for index, joint in enumerate(body.joints):
                joint.name = joint.name or (body.name if len(body.joints) == 1 else f"{body.name}_{index}")
        if not spec.worldbody.geoms:
            floor = spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05])
            floor.friction = [0.9, 0.005, 0.0001]
        if not spec.actuators:
            self._actuate(spec)
        for actuator in spec.actuators:
            kp, kd = float(actuator.gainprm[0]), -float(actuator.biasprm[2])
            if kd > 0:  # a saturated actuator would lose its damping; a joint's stays
                joint = spec.joint(actuator.target)
                joint.damping = joint.damping + [kd, 0.0, 0.0]  # linear in the speed
                actuator.biasprm[2] = 0.0
            if not actuator.forcerange[1] > 0:
                actuator.forcelimited, actuator.forcerange = mujoco.mjtLimited.mjLIMITED_TRUE, [-3.0 * kp, 3.0 * kp]
        return spec

    def _actuate(self, spec: mujoco.MjSpec) -> None:
        """PD control of every joint: kp on the actuator, kd = kp / 10 as the joint's damping, a torque limit of .4 rad's worth."""
        kp = self.actuator_kp or 10.0 * float(spec.copy().compile().body_mass.sum())
        for joint in spec.joints:
            if int(joint.type) not in (_HINGE, _BALL):
                continue
            joint.damping, joint.armature = [0.1 * kp, 0.0, 0.0], max(float(joint.armature), 0.01)
            for letter, axis in zip("xyz", _AXES if int(joint.type) == _BALL else _AXES[:1], strict=False):
                spec.add_actuator(
                    name=joint.name if int(joint.type) == _HINGE else f"{joint.name}_{letter}",
                    target=joint.name,
                    trntype=mujoco.mjtTrn.mjTRN_JOINT,
                    gear=[*axis, 0, 0, 0],
                    gainprm=[kp, *[0] * 9],
                    biasprm=[0, -kp, *[0] * 8],
                    biastype=mujoco.mjtBias.mjBIAS_AFFINE,
                    forcerange=[-0.4 * kp, 0.4 * kp],
                )

    @cached_property
    def moving_bodies(self) -> tuple[str, ...]:
        """The root and the bodies that have joints."""
        return tuple(name for i, name in enumerate(self.body_names) if self.model.body_jntnum[i + 1])

    def clip_joint(self, body: str) -> str:
        return self.clip_joints.get(body, body)

    def check(self, clip: MotionClip) -> None:
        for body in self.moving_bodies[1:]:
            if self.clip_joint(body) not in clip.skeleton.names:
                raise SettingError(
                    f"{clip.name}: has no joint '{self.clip_joint(body)}', which moves '{body}' of the character '{self.name}'; "
                    f"name it under [joints] in {self.xml.with_suffix('.toml').name}"
                )


def load_character(path: str | Path) -> MjcfCharacter:
    """A character from an MJCF file, and the `.toml` beside it where there is one.

    The model's first body has a free joint; all others have ball joints, hinges (up to three on a body, at right angles), or none.
    Actuators are position actuators on joints, with gear 1 (of a ball joint: three, along x, y and z); where the model has none they
    are made. A motion for it is a `MotionClip` whose root rotation is the first body's and whose other rotations turn the bodies
    from where the model has them at rest, relative to their parents.

    Raises:
        SettingError: no such file, a model that does not compile or is none of the above, or a broken `.toml`.
        UnknownNameError: the `.toml` names a body or joint that the model does not have, or a key that does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingError(f"{path}: no such character file; character takes 'humanoid' or an MJCF file")
    about = _read(path.with_suffix(".toml"))
    try:
        model = mujoco.MjSpec.from_file(str(path)).compile()
    except (ValueError, mujoco.FatalError) as error:
        raise SettingError(f"{path}: cannot be compiled: {' '.join(str(error).split())[:200]}") from None
    _check_model(path, model)
    bare = MjcfCharacter(path.stem, path, (), (), "", {}, about.get("kp"))
    names = bare.body_names
    parents = set(bare.model.body_parentid[1:].tolist())
    leaves = [name for i, name in enumerate(names) if i + 1 not in parents]
    feet, hands, head = tuple(about.get("feet", leaves)), tuple(about.get("hands", ())), about.get("head", names[0])
    clip_joints = {body: joint for joint, body in about.get("joints", {}).items()}
    where = path.with_suffix(".toml").name
    for body in (*feet, *hands, head, *clip_joints):
        if body not in names:
            raise unknown_name("body", str(body), names, f"bodies of {path.name}, asked for in {where}")
    known = (names[0], *bare.ball_joints, *bare.hinge_joints)
    for joint in about.get("weights", {}):
        if joint not in known:
            raise unknown_name("joint", joint, known, f"joints of {path.name}, asked for in {where}")
    weights = {name: float(about.get("weights", {}).get(name, 1.0)) for name in known}
    return MjcfCharacter(path.stem, path, feet, hands, head, weights, bare.actuator_kp, clip_joints)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        about = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: expected TOML, cannot be read: {' '.join(str(error).split())[:160]}") from None
    for key in about:
        if key not in _KEYS:
            raise unknown_name("key", key, _KEYS, f"in {path}")
    lists = [about.get(key, []) for key in ("feet", "hands")]
    texts = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
    joints, weights = about.get("joints", {}), about.get("weights", {})
    if not (texts and isinstance(joints, dict) and all(isinstance(body, str) for body in joints.values())):
        raise SettingError(f"{path}: feet and hands must be lists of names, and joints a table of names")
    numbers = [*weights.values(), about.get("kp", 1.0)] if isinstance(weights, dict) else [None]
    if not all(isinstance(n, int | float) and n >= 0 for n in numbers) or about.get("kp", 1.0) == 0:
        raise SettingError(f"{path}: weights must be a table of numbers of at least 0, and kp a number above 0")
    return about


def _check_model(path: Path, model: mujoco.MjModel) -> None:
    """Raise a `SettingError` for what no character can be."""
    if model.nbody < 2 or model.njnt == 0 or model.jnt_type[0] != _FREE or model.jnt_bodyid[0] != 1:
        raise SettingError(f"{path}: the first body needs a free joint (<freejoint/>), the root of the character")
    for joint in range(1, model.njnt):
        if model.jnt_type[joint] not in (_HINGE, _BALL):
            raise SettingError(f"{path}: joint '{model.joint(joint).name}' must be a hinge or a ball joint, as all but the root's")
        count = model.body_jntnum[model.jnt_bodyid[joint]]
        if count > (1 if model.jnt_type[joint] == _BALL else 3):
            raise SettingError(f"{path}: body '{model.body(model.jnt_bodyid[joint]).name}' must have one ball joint or up to three hinges")
    if model.njnt < 2:
        raise SettingError(f"{path}: expected at least one joint besides the root's")
    for actuator in range(model.nu):
        kp, bias = model.actuator_gainprm[actuator, 0], model.actuator_biasprm[actuator]
        on_joint = model.actuator_trntype[actuator] == mujoco.mjtTrn.mjTRN_JOINT
        position = model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_AFFINE and kp > 0 and bias[1] == -kp
        if not (on_joint and position and abs((model.actuator_gear[actuator] ** 2).sum() - 1) < 1e-9):
            name = model.actuator(actuator).name or actuator
            raise SettingError(
                f"{path}: actuator '{name}' must be a <position> on a joint, with gear 1; without any actuators they are made"
            )
