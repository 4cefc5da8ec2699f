"""Shapes as triangles: MuJoCo's geoms and the bones of a skeleton. At sharp edges vertices are double: their normals differ."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
_AROUND, _ALONG = 20, 12  # facets of round shapes
_GEOM = mujoco.mjtGeom


class Triangles(NamedTuple):
    """Vertices (V, 3) m and faces (F, 3), counter-clockwise seen from outside."""

    vertices: Array
    faces: NDArray[np.int64]

    def placed(self, position: ArrayLike, rotation: ArrayLike) -> Triangles:
        """Turned by a matrix (3, 3), then moved by (3,) m."""
        return Triangles(self.vertices @ np.asarray(rotation).T + np.asarray(position), self.faces)


def joined(parts: list[Triangles]) -> Triangles:
    """All in one."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    return Triangles(
        np.concatenate([p.vertices for p in parts]), np.concatenate([p.faces + s for p, s in zip(parts, starts, strict=False)])
    )


def revolved(profile: ArrayLike, around: int = _AROUND) -> Triangles:
    """The surface that points (radius, z) sweep about z, from the lowest to the highest, (N, 2) m."""
    profile = np.asarray(profile, dtype=np.float64)
    angle = 2 * np.pi * np.arange(around) / around
    radius, z = profile[:, :1], np.repeat(profile[:, 1:], around, axis=1)
    vertices = np.stack((radius * np.cos(angle), radius * np.sin(angle), z), axis=-1).reshape(-1, 3)
    ring, here = np.meshgrid(np.arange(len(profile) - 1) * around, np.arange(around), indexing="ij")
    a, b = (ring + here).ravel(), (ring + (here + 1) % around).ravel()
    faces = np.concatenate((np.stack((a, b, b + around), axis=1), np.stack((a, b + around, a + around), axis=1)))
    flat = (profile[faces // around, 0] == 0).sum(axis=1) > 1  # at a pole one of the two has no area
    return Triangles(vertices, faces[~flat])


def capsule(radius: float, half: float, around: int = _AROUND) -> Triangles:
    """About z; `half` is half the distance of its caps' middles, m. A sphere where it is 0."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, _ALONG + 1)
    angle = angle if half == 0 else np.insert(angle, _ALONG // 2, 0.0)
    profile = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    profile[[0, -1], 0] = 0.0
    profile[:, 1] += np.where(np.arange(len(angle)) < len(angle) / 2, -half, half) if half else 0.0
    return revolved(profile, around)


def cylinder(radius: float, half: float) -> Triangles:
    """About z; `half` is half its height, m."""
    return revolved([(0, -half), (radius, -half), (radius, -half), (radius, half), (radius, half), (0, half)])


def box(half: ArrayLike) -> Triangles:
    """Half sizes (3,) m."""
    corners: list[Array] = []
    faces: list[list[int]] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
            start = len(corners)
            corners += [sign * np.eye(3)[axis] + a * u + b * v for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            order = (0, 1, 2, 3) if sign > 0 else (0, 3, 2, 1)
            faces += [[start + order[0], start + order[1], start + order[2]], [start + order[0], start + order[2], start + order[3]]]
    return Triangles(np.array(corners) * np.asarray(half), np.array(faces))


def rod(end: ArrayLike, radius: float, around: int = _AROUND) -> Triangles:
    """A capsule from the origin to a point (3,) m, round the two of them."""
    end = np.asarray(end, dtype=np.float64)
    turn = np.empty(4)
    mujoco.mju_quatZ2Vec(turn, end)
    return capsule(radius, float(np.linalg.norm(end)) / 2, around).placed(end / 2, _matrix(turn))


def geom(model: mujoco.MjModel, index: int) -> Triangles | None:
    """A geom in the frame of its body; None for planes, height fields and what else has no surface of its own."""
    kind, size = int(model.geom_type[index]), model.geom_size[index]
    if kind == _GEOM.mjGEOM_SPHERE:
        shape = capsule(size[0], 0.0)
    elif kind == _GEOM.mjGEOM_CAPSULE:
        shape = capsule(size[0], size[1])
    elif kind == _GEOM.mjGEOM_ELLIPSOID:
        ball = capsule(1.0, 0.0)
        shape = Triangles(ball.vertices * size, ball.faces)
    elif kind == _GEOM.mjGEOM_CYLINDER:
        shape = cylinder(size[0], size[1])
    elif kind == _GEOM.mjGEOM_BOX:
        shape = box(size)
    elif kind == _GEOM.mjGEOM_MESH:
        mesh = int(model.geom_dataid[index])
        vertices = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
        faces = model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]]
        shape = Triangles(vertices.astype(np.float64), faces.astype(np.int64))
    else:
        return None
    return shape.placed(model.geom_pos[index], _matrix(model.geom_quat[index]))


def _matrix(quaternion: Array) -> Array:
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
