"""A body's mesh cut into one closed part for each joint, and what the parts weigh.

Each triangle belongs to the joint that moves it most; each rim of a part is closed by triangles about its middle. Where more than two
parts meet such lids do not quite coincide, so volumes are scaled by what they then miss to add up to the mesh's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Edge = tuple[int, int]


class Solids(NamedTuple):
    """Parts of B bodies with a density of 1."""

    volume: Array  # (B, J) m³
    centre: Array  # of mass, (B, J, 3) m
    inertia: Array  # about the centre of mass, along the world's axes, (B, J, 3, 3) m⁵


class Parts:
    """Which part of a mesh each joint has.

    Args:
        faces: triangles, counter-clockwise seen from outside, (F, 3).
        weights: of each vertex to the joints, (V, J).

    Attributes:
        vertices: indices of each joint's vertices.
    """

    def __init__(self, faces: NDArray[np.int64], weights: Array) -> None:
        joints = weights.shape[1]
        owner, mover = weights[faces].sum(axis=1).argmax(axis=1), weights.argmax(axis=1)
        self.vertices = [np.flatnonzero(mover == joint) for joint in range(joints)]
        self._rims: list[list[int]] = []
        lids: list[tuple[int, int, int]] = []
        owners = owner.tolist()
        for joint in range(joints):
            for rim in _rims(faces[owner == joint].tolist()):
                middle = len(weights) + len(self._rims)
                self._rims.append(sorted({vertex for edge in rim for vertex in edge}))
                lids += [(b, a, middle) for a, b in rim]
                owners += [joint] * len(rim)
        self._skin = len(faces)
        self._triangles = np.concatenate((faces, np.array(lids, dtype=np.int64).reshape(-1, 3)))
        self._sums = np.zeros((joints, len(owners)))
        self._sums[owners, np.arange(len(owners))] = 1.0

    def solids(self, vertices: Array) -> Solids:
        """Volume, centre and inertia of every part, for meshes (B, V, 3) m; Gauss's theorem over tetrahedra from the origin."""
        middles = [vertices[:, rim].mean(axis=1, keepdims=True) for rim in self._rims]
        corners = np.concatenate((vertices, *middles), axis=1)[:, self._triangles]  # (B, T, 3 corners, 3)
        size = np.linalg.det(corners) / 6.0
        total = corners.sum(axis=2)
        second = np.einsum("btki,btkj->btij", corners, corners) + total[..., :, None] * total[..., None, :]
        volume = size @ self._sums.T
        centre = self._sums @ (size[..., None] * total / 4.0) / volume[..., None]
        products = (self._sums @ (size[..., None, None] / 20.0 * second).reshape(*size.shape, 9)).reshape(*volume.shape, 3, 3)
        products -= volume[..., None, None] * centre[..., :, None] * centre[..., None, :]
        share = (size[:, : self._skin].sum(axis=1) / volume.sum(axis=1))[:, None]
        inertia = np.trace(products, axis1=-2, axis2=-1)[..., None, None] * np.eye(3) - products
        return Solids(share * volume, centre, share[..., None, None] * inertia)


def _rims(triangles: Iterable[tuple[int, int, int]]) -> list[list[Edge]]:
    """The directed edges that triangles leave without an opposite one, by connected rim."""
    edges = Counter((a, b) for t in triangles for a, b in ((t[0], t[1]), (t[1], t[2]), (t[2], t[0])))
    loose = [edge for edge, count in edges.items() for _ in range(count - edges.get(edge[::-1], 0))]
    at: dict[int, list[Edge]] = defaultdict(list)
    for edge in loose:
        at[edge[0]].append(edge)
    rims = []
    while at:
        rim, waiting = [], [next(iter(at))]
        while waiting:
            found = at.pop(waiting.pop(), [])
            rim += found
            waiting += [b for _, b in found]
        rims.append(rim)
    return rims
