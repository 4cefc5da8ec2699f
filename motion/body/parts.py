"""A body's mesh cut into one part for each joint, and what the parts weigh.

Each triangle of the skin stands for the flesh between it and the bone: a prism whose other end is where its corners fall on the bones.
Neighbours share their sides, so the prisms fill the body but for what the bones themselves enclose, which is scaled away. A prism
belongs to the joint that moves its triangle most.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Solids(NamedTuple):
    """Parts of B bodies with a density of 1."""

    volume: Array  # (B, J) m³
    centre: Array  # of mass, (B, J, 3) m
    inertia: Array  # about the centre of mass, along the world's axes, (B, J, 3, 3) m⁵


class Parts:
    """Which part of a mesh each joint has.

    Args:
        faces: triangles of a closed mesh, counter-clockwise seen from outside, (F, 3).
        weights: of each vertex to the joints, (V, J).

    Attributes:
        vertices: indices of each joint's vertices.
    """

    def __init__(self, faces: NDArray[np.int64], weights: Array) -> None:
        vertices, joints = weights.shape
        mover = weights.argmax(axis=1)
        self.vertices = [np.flatnonzero(mover == joint) for joint in range(joints)]
        self._weights = weights
        owner = weights[faces].sum(axis=1).argmax(axis=1)
        self._faces = faces[np.argsort(owner, kind="stable")]
        ends = 3 * np.bincount(owner, minlength=joints).cumsum()
        self._mine = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        # each prism as three tetrahedra; in the order of the vertices' numbers, so that neighbours cut their common side alike
        order = np.argsort(self._faces, axis=1)
        a, b, c = np.take_along_axis(self._faces, order, axis=1).T
        even = np.isin(order @ [9, 3, 1], [5, 15, 19])  # (0 1 2), (1 2 0), (2 0 1): turned, not mirrored
        d, e, f = a + vertices, b + vertices, c + vertices  # on the bones
        tetrahedra = np.stack([np.stack(t, axis=-1) for t in ((a, b, c, f), (a, b, f, e), (a, d, e, f))], axis=1)
        tetrahedra[even] = tetrahedra[even][..., [1, 0, 2, 3]]
        self._tetrahedra = tetrahedra.reshape(-1, 4)

    def solids(self, vertices: Array, bones: Array) -> Solids:
        """Volume, centre and inertia of every part.

        Args:
            vertices: of the meshes, (B, V, 3) m.
            bones: where each joint's bone begins and ends, (B, J, 2, 3) m.
        """
        x = np.concatenate((vertices, self._on_bones(vertices, bones)), axis=1)[:, self._tetrahedra]  # (B, T, 4 corners, 3)
        size = _determinant(x[:, :, 1:] - x[:, :, :1]) / 6.0  # (B, T)
        total = x.sum(axis=2)
        second = np.matmul(np.swapaxes(x, -1, -2), x) + total[..., :, None] * total[..., None, :]
        volume = self._of_parts(size)
        centre = self._of_parts(size[..., None] * total / 4.0) / volume[..., None]
        products = self._of_parts(size[..., None, None] / 20.0 * second)
        products -= volume[..., None, None] * centre[..., :, None] * centre[..., None, :]
        share = (_determinant(vertices[:, self._faces]).sum(axis=1) / 6.0 / volume.sum(axis=1))[:, None]
        inertia = np.trace(products, axis1=-2, axis2=-1)[..., None, None] * np.eye(3) - products
        return Solids(share * volume, centre, share[..., None, None] * inertia)

    def _of_parts(self, values: Array) -> Array:
        """Sums over the tetrahedra of each part, (B, T, ...) -> (B, J, ...)."""
        return np.stack([values[:, mine].sum(axis=1) for mine in self._mine], axis=1)

    def _on_bones(self, vertices: Array, bones: Array) -> Array:
        """Where vertices fall on the bones: the nearest points of those that move them, by their weights, (B, V, 3) m."""
        found = np.zeros_like(vertices)
        for joint, weight in enumerate(self._weights.T):
            mine = np.flatnonzero(weight)
            start, line = bones[:, joint, :1], bones[:, joint, 1:] - bones[:, joint, :1]
            along = ((vertices[:, mine] - start) * line).sum(axis=-1, keepdims=True) / np.maximum(
                (line**2).sum(axis=-1, keepdims=True), 1e-12
            )
            found[:, mine] += weight[mine, None] * (start + along.clip(0.0, 1.0) * line)
        return found


def _determinant(rows: Array) -> Array:
    """Of 3 x 3 matrices, (..., 3, 3)."""
    a, b, c = np.moveaxis(rows, -2, 0)
    return np.asarray((a * np.cross(b, c)).sum(axis=-1))
