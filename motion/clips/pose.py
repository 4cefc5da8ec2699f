"""Poses of the humanoid from where its feet, pelvis, trunk and arms should be, and what a motion asks of its body.

Arrays are over T frames; rotations are SciPy's (active, parent axes first); world z up, x forward, y left; m, s, rad.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip, Provenance

Array = NDArray[np.float64]

_model = HUMANOID.model
HIP = _model.body("right_hip").pos.copy()
THIGH, SHANK = -_model.body("right_knee").pos[2], -_model.body("right_ankle").pos[2]
_foot = _model.geom("right_ankle")
# middles of the sole's edges, seen from the ankle
HEEL = _foot.pos - _foot.size * [1, 0, 1]
TOE = _foot.pos + _foot.size * [1, 0, -1]
PROVENANCE = Provenance("made by mprl.motion.clips.make", "Apache-2.0", "The mprl authors")
_MIRROR = np.array([1.0, -1.0, 1.0, -1.0])  # a rotation, wxyz, seen in a mirror that swaps left and right


@dataclass(frozen=True)
class Limb:
    """Rotations of one leg (hip, knee, ankle) or one arm (shoulder, elbow), each relative to its parent, (T, 4) wxyz."""

    joints: tuple[Array, ...]

    def mirrored(self, shift: int = 0) -> Limb:
        """The other side's limb, which does the same `shift` frames later, in a cycle."""
        return Limb(tuple(np.roll(joint, shift, axis=0) * _MIRROR for joint in self.joints))


def about(axes: str, *angles: Array | float) -> Rotation:
    """Rotation by angles (T,) about moving axes, such as about("zy", yaw, pitch)."""
    columns = np.broadcast_arrays(*(np.atleast_1d(angle) for angle in angles))
    return Rotation.from_euler(axes.upper(), np.stack(columns, axis=-1).astype(np.float64))


def rolled(heading: Rotation, foot: Rotation, edge: Array) -> Array:
    """Where the ankle goes, (T, 3) m, when a foot that stood flat below the origin rolls over an edge of its sole, which stays."""
    return heading.apply(edge * [1, 1, 0]) - foot.apply(edge)


def derivatives(curve: Callable[[Array], Array], at: float, step: float) -> Array:
    """Value, first and second derivative of a curve at a time, from its values there and after (or before, step < 0), (3, ...)."""
    p = curve(at + step * np.arange(3.0, dtype=np.float64))
    return np.array([p[0], (-3 * p[0] + 4 * p[1] - p[2]) / (2 * step), (p[0] - 2 * p[1] + p[2]) / step**2])


def right_leg(pelvis: Array, pelvis_rotation: Rotation, ankle: Array, foot_rotation: Rotation) -> Limb:
    """The leg that carries the right ankle to where it should be: two links in a plane, the knee above the toes' heading.

    Args:
        pelvis: root position, (T, 3) m. pelvis_rotation: of the root.
        ankle: position of the right ankle, (T, 3) m. foot_rotation: of the right foot, in the world.

    Raises:
        ValueError: the leg is too short.
    """
    line = ankle - (pelvis + pelvis_rotation.apply(HIP))
    reach = np.linalg.norm(line, axis=1)
    if reach.max() >= THIGH + SHANK:
        raise ValueError(f"the leg is {THIGH + SHANK:.3f} m long, frame {int(reach.argmax())} asks for {reach.max():.3f} m")
    up = -line / reach[:, None]
    side = np.cross(up, foot_rotation.apply([1.0, 0.0, 0.0]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    leg = Rotation.from_matrix(np.stack((np.cross(side, up), side, up), axis=-1))
    knee = np.pi - np.arccos((THIGH**2 + SHANK**2 - reach**2) / (2 * THIGH * SHANK))
    lead = np.arccos((THIGH**2 + reach**2 - SHANK**2) / (2 * THIGH * reach))
    thigh = leg * about("y", -lead)
    shank = thigh * about("y", knee)
    return Limb((_wxyz(pelvis_rotation.inv() * thigh), _wxyz(about("y", knee)), _wxyz(shank.inv() * foot_rotation)))


def right_arm(swing: Array, elbow: Array, abduction: Array | float = 0.12, inward: float = 0.12) -> Limb:
    """The right arm hanging, swung forward by `swing`, its elbow bent by `elbow`, rad, (T,).

    `abduction` holds it off the trunk, `inward` turns the bent forearm towards the front of the body.
    """
    shoulder = about("yxy", -swing, 0.5 * np.pi - abduction, inward)
    return Limb((_wxyz(shoulder), _wxyz(about("z", elbow))))


def assemble(pelvis_rotation: Rotation, chest: Rotation, neck: Rotation, legs: tuple[Limb, Limb], arms: tuple[Limb, Limb]) -> Array:
    """Joint rotations (T, J, 4) of a clip, from limbs given (right, left), and chest and neck in the world."""
    parts = {"root": pelvis_rotation, "chest": pelvis_rotation.inv() * chest, "neck": chest.inv() * neck}
    rotations = np.zeros((len(pelvis_rotation), len(HUMANOID.body_names), 4))
    rotations[..., 0] = 1.0
    for name, rotation in parts.items():
        rotations[:, HUMANOID.body_names.index(name)] = _wxyz(rotation)
    for side, leg, arm in zip(("right", "left"), legs, arms, strict=True):
        named = zip(("hip", "knee", "ankle", "shoulder", "elbow"), leg.joints + arm.joints, strict=True)
        for joint, rotation in named:
            rotations[:, HUMANOID.body_names.index(f"{side}_{joint}")] = rotation
    return rotations


def _wxyz(rotation: Rotation) -> Array:
    return rotation.as_quat(canonical=True, scalar_first=True)


@dataclass(frozen=True)
class Dynamics:
    """What a motion asks for, by inverse dynamics at its inner frames.

    Attributes:
        com: centre of mass, (T, 3) m.
        force: of the ground, (T, 3) N. zero_moment_point: where it acts, (T, 2) m, sensible only where the force is upward.
        momentum: angular momentum about the centre of mass, (T, 3) kg m²/s.
        qvel: (T, nv), MuJoCo's. torque: generalised forces that the motion takes without the ground's help, damping included, (T, nv).
    """

    com: Array
    force: Array
    zero_moment_point: Array
    momentum: Array
    qvel: Array
    torque: Array


@cache
def _without_contacts() -> mujoco.MjModel:
    spec = HUMANOID.spec()
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    return spec.compile()


def dynamics(clip: MotionClip) -> Dynamics:
    """Inverse dynamics of a clip, by central differences; a clip that does not loop counts as resting before and after."""
    model = _without_contacts()
    data = mujoco.MjData(model)
    qpos = HUMANOID.to_qpos(clip).numpy()
    dt = 1.0 / clip.frame_rate
    between = np.zeros((len(qpos) + 1, model.nv))
    for t in range(len(qpos) - 1):
        mujoco.mj_differentiatePos(model, between[t + 1], dt, qpos[t], qpos[t + 1])
    if clip.loop == "wrap":
        between[0], between[-1] = between[-2], between[1]
    qvel, qacc = 0.5 * (between[1:] + between[:-1]), (between[1:] - between[:-1]) / dt
    rows = []
    for pose, velocity, acceleration in zip(qpos, qvel, qacc, strict=True):
        data.qpos[:], data.qvel[:], data.qacc[:] = pose, velocity, acceleration
        mujoco.mj_inverse(model, data)
        mujoco.mj_subtreeVel(model, data)
        force, moment = data.qfrc_inverse[:3], data.xmat[1].reshape(3, 3) @ data.qfrc_inverse[3:6]
        lift = force[2] if abs(force[2]) > 1.0 else np.nan
        point = pose[:2] - np.array([moment[1] + pose[2] * force[0], pose[2] * force[1] - moment[0]]) / lift
        rows.append((data.subtree_com[1].copy(), force.copy(), point, data.subtree_angmom[1].copy(), velocity, data.qfrc_inverse.copy()))
    return Dynamics(*(np.array(column) for column in zip(*rows, strict=True)))


def centre_of_mass(clip: MotionClip) -> Array:
    """Of the whole body, (T, 3) m."""
    data = mujoco.MjData(_model)
    com = np.empty((clip.num_frames, 3))
    for t, pose in enumerate(HUMANOID.to_qpos(clip).numpy()):
        data.qpos[:] = pose
        mujoco.mj_kinematics(_model, data)
        mujoco.mj_comPos(_model, data)
        com[t] = data.subtree_com[1]
    return com


def follow(error: Array, frame_rate: float, com_height: float = 0.9) -> Array:
    """The pelvis' displacement in a cycle, (T, 2) m, that moves the zero-moment point by `error` (T, 2), were all mass at one height.

    p = c - (h / g) c'' is, for each harmonic of the cycle, a division by 1 + (h / g) w^2 (cart-table model, Kajita et al. 2003).
    """
    rate = 2 * np.pi * np.fft.rfftfreq(len(error), 1 / frame_rate)
    return np.fft.irfft(np.fft.rfft(error, axis=0) / (1 + com_height / 9.81 * rate[:, None] ** 2), len(error), axis=0)
