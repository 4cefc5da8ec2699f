"""Poses in words of the body, degrees and metres, and rough motions through them: what trajectory optimisation starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip
from mprl.motion.clips.pose import PROVENANCE, Array, Limb, about, assemble
from mprl.motion.clips.supports import Intervals
from mprl.motion.contacts import body_clearance


@dataclass(frozen=True)
class Leg:
    """A leg, degrees: the thigh forward, outward, turned outward; the knee bent; the toes down (None: the sole level where the trunk
    is not turned over), the sole turned inward."""

    flex: float = 0.0
    out: float = 0.0
    turn: float = 5.0
    knee: float = 5.0
    toes: float | None = None
    roll: float = 0.0


@dataclass(frozen=True)
class Arm:
    """An arm, degrees: swung forward, held off the trunk (90: sideways), the bend of the elbow, the bent forearm turned inward."""

    swing: float = 0.0
    out: float = 7.0
    elbow: float = 15.0
    inward: float = 7.0


@dataclass(frozen=True)
class Pose:
    """A pose: the pelvis, degrees and m, the trunk and head relative to it, limbs.

    `z` None puts the lowest point on the floor. `pitch` leans forward, `roll` to the right, `yaw` turns left; `bend`, `side`, `twist`
    are the chest's, `nod`, `tilt`, `look` the head's, likewise.
    """

    x: float = 0.0
    y: float = 0.0
    z: float | None = None
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    bend: float = 0.0
    side: float = 0.0
    twist: float = 0.0
    nod: float = 0.0
    tilt: float = 0.0
    look: float = 0.0
    right_leg: Leg = field(default_factory=Leg)
    left_leg: Leg = field(default_factory=Leg)
    right_arm: Arm = field(default_factory=Arm)
    left_arm: Arm = field(default_factory=Arm)

    def but(self, **changes: Any) -> Pose:
        """The pose with some values changed; `legs` and `arms` set both sides, and dicts change single values of a limb."""
        for both, kind in (("legs", "leg"), ("arms", "arm")):
            if both in changes:
                value = changes.pop(both)
                changes = {f"right_{kind}": value, f"left_{kind}": value, **changes}
        for name, value in changes.items():
            if isinstance(value, dict):
                changes[name] = replace(getattr(self, name), **value)
        return replace(self, **changes)

    def mirrored(self) -> Pose:
        """The pose seen in a mirror that swaps left and right."""
        flipped = {name: -getattr(self, name) for name in ("y", "yaw", "roll", "side", "twist", "tilt", "look")}
        limbs = {f"{a}_{limb}": getattr(self, f"{b}_{limb}") for limb in ("leg", "arm") for a, b in (("right", "left"), ("left", "right"))}
        return replace(self, **flipped, **limbs)

    def vector(self) -> Array:
        """All values in a row."""
        level = [(leg.flex - leg.knee - self.pitch + 180.0) % 360.0 - 180.0 for leg in (self.right_leg, self.left_leg)]
        both = zip((self.right_leg, self.left_leg), level, strict=True)
        legs = [replace(leg, toes=toes) if leg.toes is None else leg for leg, toes in both]
        trunk = [getattr(self, name) for name in _TRUNK]
        every: list[Leg | Arm] = [*legs, self.right_arm, self.left_arm]
        limbs = [value for limb in every for value in astuple(limb)]
        if self.z is None:
            trunk[2] = 2.0
            trunk[2] = 2.0 - float(body_clearance(HUMANOID, poses(np.array([trunk + limbs] * 2))).min())
        return np.array(trunk + limbs, dtype=np.float64)


_TRUNK = ("x", "y", "z", "yaw", "pitch", "roll", "bend", "side", "twist", "nod", "tilt", "look")
STAND = Pose(x=0.03, pitch=2.0, right_leg=Leg(8, 1, 5, 15), left_leg=Leg(8, 1, 5, 15))


def through(keys: Mapping[float, Pose] | Sequence[tuple[float, Pose]], time: Array, smooth: bool = False, loop: bool = False) -> Array:
    """MuJoCo poses (T, nq) that pass through key poses at their times, at rest at both ends unless it loops.

    Args:
        keys: time, s, and pose.
        smooth: a cubic spline with mean slopes, which may overshoot; otherwise no value leaves the range of its neighbours.
        loop: the first pose is taken again at the end, with the last key's root displacement.
    """
    items = sorted(keys.items() if isinstance(keys, Mapping) else keys, key=lambda item: item[0])
    at = np.array([item[0] for item in items])
    values = np.array([item[1].vector() for item in items])
    if loop:
        period, shift = at[-1] - at[0], values[-1] - values[0]
        at = np.concatenate((at[:-1] - period, at, at[1:] + period))
        values = np.concatenate((values[:-1] - shift, values, values[1:] + shift))
    if smooth:
        slopes = np.gradient(values, at, axis=0)
        if not loop:
            slopes[[0, -1]] = 0.0
        rows = CubicHermiteSpline(at, values, slopes)(np.clip(time, at[0], at[-1]))
    else:
        slopes = PchipInterpolator(at, values).derivative()(at)
        if not loop:
            slopes[[0, -1]] = 0.0
        rows = CubicHermiteSpline(at, values, slopes)(np.clip(time, at[0], at[-1]))
    return poses(rows)


def poses(rows: Array) -> Array:
    """MuJoCo poses (T, nq) of rows of values (`Pose.vector`)."""
    trunk = dict(zip(_TRUNK, rows[:, : len(_TRUNK)].T, strict=True))
    angle = {name: np.radians(value) for name, value in trunk.items()}
    pelvis = about("zyx", angle["yaw"], angle["pitch"], angle["roll"])
    chest = pelvis * about("yxz", angle["bend"], angle["side"], angle["twist"])
    head = chest * about("zyx", angle["look"], angle["nod"], angle["tilt"])
    rest = np.radians(rows[:, len(_TRUNK) :])
    legs, arms = (rest[:, 0:6], rest[:, 6:12]), (rest[:, 12:16], rest[:, 16:20])
    right, left = (_leg(*leg.T) for leg in legs)
    right_arm, left_arm = (_arm(*arm.T) for arm in arms)
    rotations = assemble(pelvis, chest, head, (right, left.mirrored()), (right_arm, left_arm.mirrored()))
    root = np.stack([trunk[axis] for axis in "xyz"], axis=1)
    return HUMANOID.to_qpos(MotionClip("sketch", HUMANOID.skeleton, 60.0, root, rotations)).numpy()


def _leg(flex: Array, out: Array, turn: Array, knee: Array, toes: Array, roll: Array) -> Limb:
    quat = lambda rotation: rotation.as_quat(canonical=True, scalar_first=True)  # noqa: E731
    return Limb((quat(about("yxz", -flex, -out, -turn)), quat(about("y", knee)), quat(about("yx", toes, -roll))))


def _arm(swing: Array, out: Array, elbow: Array, inward: Array) -> Limb:
    quat = lambda rotation: rotation.as_quat(canonical=True, scalar_first=True)  # noqa: E731
    return Limb((quat(about("yxy", -swing, 0.5 * np.pi - out, inward)), quat(about("z", elbow))))


def limits() -> Array:
    """Least and greatest rotation vector components and angles, (nv, 2) rad: of the release of Peng et al. 2018, knees and elbows
    between straight and what flesh allows. The shoulders, whose rest pose differs, are free."""
    model = HUMANOID.model
    bounds = np.tile([-np.inf, np.inf], (model.nv, 1))
    spread: dict[str, tuple[float | tuple[float, float], ...]] = {"chest": (1.2, 1.2, 1.2), "neck": (1.0, 1.0, 1.0)}
    spread |= {"hip": (1.2, (-2.57, 1.57), 1.0), "ankle": (1.0, 1.57, 1.0)}
    for joint in range(1, model.njnt):
        name, dof = model.joint(joint).name.split("_")[-1], int(model.jnt_dofadr[joint])
        if name in ("knee", "elbow"):
            low, high = (0.03, 2.6)
            bounds[dof] = (-high, -low) if name == "knee" else (low, high)
        for axis, width in enumerate(spread.get(name, ())):
            bounds[dof + axis] = width if isinstance(width, tuple) else (-width, width)
    return bounds


def to_clip(name: str, qpos: Array, frame_rate: float, contacts: NDArray[np.bool_], loop: bool) -> MotionClip:
    """Poses (T, nq) as a clip."""
    model = HUMANOID.model
    rotations = np.zeros((len(qpos), len(HUMANOID.body_names), 4))
    rotations[..., 0] = 1.0
    for joint in range(model.njnt):
        body, start = int(model.jnt_bodyid[joint]) - 1, int(model.jnt_qposadr[joint]) + (3 if joint == 0 else 0)
        if model.joint(joint).name in HUMANOID.hinge_joints:
            half = 0.5 * qpos[:, start, None]
            rotations[:, body] = np.concatenate((np.cos(half), np.sin(half) * model.jnt_axis[joint]), axis=1)
        else:
            rotations[:, body] = qpos[:, start : start + 4]
    return MotionClip(
        name,
        HUMANOID.skeleton,
        frame_rate,
        qpos[:, :3],
        rotations,
        loop="wrap" if loop else "none",
        contacts=contacts,
        provenance=PROVENANCE,
    )


def pose(**values: Any) -> Pose:
    """A pose; `legs` and `arms` set both sides."""
    return Pose().but(**values)


def times(duration: float, rate: float) -> Array:
    """Of the frames from 0 to `duration`, a multiple of 1 / rate, s."""
    return np.arange(round(duration * rate) + 1) / rate


def both(**parts: Intervals) -> dict[str, Intervals]:
    """The same contacts of both sides' parts."""
    return {f"{side}_{part}": spans for part, spans in parts.items() for side in ("right", "left")}
