"""Differences of MuJoCo poses and what they change by: quaternions, rotation vectors, and whole poses in numpy, many at once."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def multiply(a: Array, b: Array) -> Array:
    """Product of quaternions wxyz, (..., 4)."""
    w, v, x, u = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    return np.concatenate((w * x - (v * u).sum(-1, keepdims=True), w * u + x * v + np.cross(v, u)), axis=-1)


def conjugate(a: Array) -> Array:
    """The inverse of unit quaternions."""
    return a * np.array([1.0, -1.0, -1.0, -1.0])


def exp(vector: Array) -> Array:
    """Quaternions of rotation vectors, (..., 3) -> (..., 4)."""
    half = 0.5 * np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.concatenate((np.cos(half), 0.5 * np.sinc(half / np.pi) * vector), axis=-1)


def log(quaternion: Array) -> Array:
    """Rotation vectors of unit quaternions, at most pi long, (..., 4) -> (..., 3)."""
    quaternion = quaternion * np.where(quaternion[..., :1] < 0, -1.0, 1.0)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
    half = np.arctan2(sine, quaternion[..., :1])
    return quaternion[..., 1:] * 2.0 / np.maximum(np.sinc(half / np.pi), 1e-12)


def log_jacobian(vector: Array) -> Array:
    """d log(R(vector) exp(e)) / de at e = 0, (N, 3) -> (N, 3, 3): the inverse right Jacobian of SO(3)."""
    angle = np.linalg.norm(vector, axis=-1)[:, None, None]
    cross = np.zeros((len(vector), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -vector[:, 2], vector[:, 1], -vector[:, 0]
    cross -= cross.swapaxes(1, 2)
    safe = np.maximum(angle, 1e-3)
    factor = np.where(angle < 1e-3, 1 / 12, 1 / safe**2 - (1 + np.cos(safe)) / (2 * safe * np.sin(safe)))
    return np.eye(3) + 0.5 * cross + factor * (cross @ cross)


class Tangents:
    """Poses (N, nq) of a model with a free root, ball joints and hinges, and small motions from them (N, nv), in MuJoCo's convention."""

    def __init__(self, model: mujoco.MjModel) -> None:
        ball, hinge = int(mujoco.mjtJoint.mjJNT_BALL), int(mujoco.mjtJoint.mjJNT_HINGE)
        address = np.stack((model.jnt_qposadr, model.jnt_dofadr), axis=1)
        self.nv = int(model.nv)
        self.turning = np.concatenate(([[3, 3]], address[model.jnt_type == ball]))  # quaternions: where in qpos, where in qvel
        self.hinges = address[model.jnt_type == hinge]

    def difference(self, a: Array, b: Array) -> Array:
        """The motion that leads from poses a to b, (N, nv)."""
        step = np.zeros((len(a), self.nv))
        step[:, :3] = b[:, :3] - a[:, :3]
        step[:, self.hinges[:, 1]] = b[:, self.hinges[:, 0]] - a[:, self.hinges[:, 0]]
        for q, v in self.turning:
            step[:, v : v + 3] = log(multiply(conjugate(a[:, q : q + 4]), b[:, q : q + 4]))
        return step

    def jacobians(self, step: Array) -> tuple[Array, Array]:
        """How a difference changes with its first and its second pose, (N, nv, nv) each."""
        before, after = np.zeros((2, len(step), self.nv, self.nv))
        before[:, range(self.nv), range(self.nv)], after[:, range(self.nv), range(self.nv)] = -1.0, 1.0
        for _, v in self.turning:
            inverse = log_jacobian(step[:, v : v + 3])
            after[:, v : v + 3, v : v + 3] = inverse
            before[:, v : v + 3, v : v + 3] = -inverse.swapaxes(1, 2)  # the left one
        return before, after

    def moved(self, qpos: Array, step: Array) -> Array:
        """The poses that small motions lead to, (N, nq)."""
        out = qpos.copy()
        out[:, :3] += step[:, :3]
        out[:, self.hinges[:, 0]] += step[:, self.hinges[:, 1]]
        for q, v in self.turning:
            out[:, q : q + 4] = multiply(qpos[:, q : q + 4], exp(step[:, v : v + 3]))
        return out
