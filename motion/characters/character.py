"""A body made physical: an MJCF model together with what imitation needs to know about its joints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import mujoco
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.motion.clip import MotionClip, Skeleton


@dataclass(frozen=True)
class Character:
    """A character with a free root whose other joints are ball joints and hinges: on a body one ball joint or up to three hinges.

    Attributes:
        name: short name.
        xml: path of its MJCF. Body names are joint names of its motion clips (`clip_joint`).
        feet, hands, head: bodies by their role.
        joint_weights: weight of each joint in the pose and velocity errors, unnormalised, root included, by name.
        residual_scale: rad beyond the reference that an action of 1 asks for.
    """

    name: str
    xml: Path
    feet: tuple[str, ...]
    hands: tuple[str, ...]
    head: str
    joint_weights: dict[str, float]
    # every actuator of the humanoid that follows exactly is then at its torque limit
    residual_scale: ClassVar[float] = 0.5

    def spec(self) -> mujoco.MjSpec:
        """A fresh, editable copy of the model."""
        return mujoco.MjSpec.from_file(str(self.xml))

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled model, as it is in the file."""
        return self.spec().compile()

    @cached_property
    def body_names(self) -> tuple[str, ...]:
        """Names of the bodies but the world, in MuJoCo's order."""
        return tuple(self.model.body(i).name for i in range(1, self.model.nbody))

    @cached_property
    def skeleton(self) -> Skeleton:
        """The character's bodies as a skeleton; the rest pose is the model's (all frames aligned with the world)."""
        parents = tuple(int(p) - 1 for p in self.model.body_parentid[1:])
        offsets = self.model.body_pos[1:].copy()
        offsets[0] = 0.0
        return Skeleton(self.body_names, parents, offsets)

    @cached_property
    def ball_joints(self) -> tuple[str, ...]:
        """Names of the ball joints, in the order of qpos."""
        return self._joints(mujoco.mjtJoint.mjJNT_BALL)

    @cached_property
    def hinge_joints(self) -> tuple[str, ...]:
        """Names of the hinges, in the order of qpos."""
        return self._joints(mujoco.mjtJoint.mjJNT_HINGE)

    def _joints(self, kind: mujoco.mjtJoint) -> tuple[str, ...]:
        return tuple(self.model.joint(i).name for i in range(self.model.njnt) if self.model.jnt_type[i] == kind)

    @cached_property
    def ball_qpos(self) -> np.ndarray:
        """Where the root's and the ball joints' quaternions lie in qpos, (1 + balls, 4)."""
        starts = [3, *(int(self.model.joint(name).qposadr[0]) for name in self.ball_joints)]
        return np.array(starts)[:, None] + np.arange(4)

    @cached_property
    def hinge_qpos(self) -> np.ndarray:
        """Where the hinges' angles lie in qpos, (hinges,)."""
        return np.array([int(self.model.joint(name).qposadr[0]) for name in self.hinge_joints], dtype=int)

    @cached_property
    def kp(self) -> np.ndarray:
        """Stiffness of each actuator, (nu,) N m/rad."""
        return self.model.actuator_gainprm[:, 0].copy()

    @cached_property
    def damping_lag(self) -> np.ndarray:
        """How late each actuator's joint follows a moving target: damping / kp, (nu,) s."""
        dofs = self.model.jnt_dofadr[self.model.actuator_trnid[:, 0]]
        return self.model.dof_damping[dofs] / self.kp

    def along_actuators(self, motion: np.ndarray) -> np.ndarray:
        """Velocities or torques of the degrees of freedom along the actuators, (..., nv) -> (..., nu)."""
        axes = np.zeros((self.model.nv, self.model.nu))
        for actuator, joint in enumerate(self.model.actuator_trnid[:, 0]):
            count = 3 if self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_BALL else 1
            first = int(self.model.jnt_dofadr[joint])
            axes[first : first + count, actuator] = self.model.actuator_gear[actuator, :count]
        return motion @ axes

    def clip_joint(self, body: str) -> str:
        """What motion clips call the joint that moves a body."""
        return body

    def check(self, clip: MotionClip) -> None:
        """Raise a `SettingError` unless the clip moves this character."""
        if clip.skeleton.names != self.body_names:
            raise SettingError(f"{clip.name}: its joints are not those of the character '{self.name}'; retarget it first")

    def to_qpos(self, clip: MotionClip) -> Tensor:
        """The clip as MuJoCo positions, (T, nq) float64: root position, root quaternion, joints."""
        rotations = torch.as_tensor(clip.rotations.copy())
        qpos = torch.zeros(clip.num_frames, self.model.nq, dtype=torch.float64)
        qpos[:, :3] = torch.as_tensor(clip.root_position.copy())
        qpos[:, 3:7] = rot.continuous(rotations[:, 0])
        for body in range(2, self.model.nbody):
            first, count = int(self.model.body_jntadr[body]), int(self.model.body_jntnum[body])
            if not count:
                continue
            turned = rotations[:, clip.skeleton.names.index(self.clip_joint(self.body_names[body - 1]))]
            start, axes = int(self.model.jnt_qposadr[first]), torch.as_tensor(self.model.jnt_axis[first : first + count].copy())
            if self.model.jnt_type[first] == mujoco.mjtJoint.mjJNT_BALL:
                qpos[:, start : start + 4] = rot.continuous(turned)
            elif count == 1:
                qpos[:, start] = rot.hinge_angle(turned, axes[0])
            else:
                qpos[:, start : start + count] = _chain_angles(turned, axes)
        return qpos

    def to_control(self, qpos: Tensor) -> Tensor:
        """Positions as targets of the actuators, (..., nq) -> (..., nu): rotation vectors of ball joints, angles of hinges."""
        targets = qpos.new_zeros(*qpos.shape[:-1], self.model.nu)
        vectors = rot.to_rotation_vector(qpos[..., torch.as_tensor(self.ball_qpos[1:])])
        for actuator in range(self.model.nu):
            joint = int(self.model.actuator_trnid[actuator, 0])
            name = self.model.joint(joint).name
            if name in self.ball_joints:
                gear = torch.as_tensor(self.model.actuator_gear[actuator, :3], dtype=qpos.dtype)
                targets[..., actuator] = vectors[..., self.ball_joints.index(name), :] @ gear
            else:
                targets[..., actuator] = qpos[..., int(self.model.jnt_qposadr[joint])]
        return targets


def _chain_angles(rotation: Tensor, axes: Tensor) -> Tensor:
    """Angles of two or three hinges at right angles that make a rotation, the first outermost, (T, 4) -> (T, hinges) rad.

    Continuous over time. What two hinges cannot make is left out.
    """
    count = len(axes)
    if count == 2:
        axes = torch.cat((axes, torch.linalg.cross(axes[:1], axes[1:])))
    angles = Rotation.from_quat(rotation.numpy(), scalar_first=True).as_davenport(axes.numpy(), "intrinsic")
    return torch.as_tensor(np.unwrap(angles, axis=0)[:, :count])
