"""Fewer vertices on a mirror-symmetric surface: collapse edges where they change it least (Garland & Heckbert 1997).

A collapse moves one vertex onto a neighbour, so that those which stay keep their place, their weights and their blend shapes; what
happens on the left happens on the right too.
"""

from __future__ import annotations

import heapq
import math
import operator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_EVENNESS = 0.02  # weight of the fourth power of an edge's length: without it, flat parts would be left with a few long triangles
_FLATTEST = 0.3  # cosine: how far a triangle may turn


class _Mesh:
    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self.points = vertices.tolist()
        self.faces: dict[int, tuple[int, int, int]] = {i: (int(a), int(b), int(c)) for i, (a, b, c) in enumerate(faces)}
        self.around: list[set[int]] = [set() for _ in vertices]  # faces at each vertex
        for i, face in self.faces.items():
            for v in face:
                self.around[v].add(i)

    def neighbours(self, v: int) -> set[int]:
        return {w for i in self.around[v] for w in self.faces[i]} - {v}

    def normal(self, face: tuple[int, int, int]) -> tuple[list[float], float]:
        """Of twice the area's length, and the square of the longest edge."""
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (self.points[v] for v in face)
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        longest = max(ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz, (ux - vx) ** 2 + (uy - vy) ** 2 + (uz - vz) ** 2)
        return [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], longest

    def may_collapse(self, u: int, v: int) -> bool:
        """Whether u can move onto v: the surface stays closed and no triangle turns over or becomes a needle."""
        if len(self.neighbours(u) & self.neighbours(v)) != 2:
            return False
        for i in self.around[u] - self.around[v]:
            old = self.faces[i]
            new = tuple(v if w == u else w for w in old)
            (n, _), (m, longest) = self.normal(old), self.normal(new)  # type: ignore[arg-type]
            size = math.hypot(*m)
            if sum(map(operator.mul, n, m)) < _FLATTEST * math.hypot(*n) * size or size < 0.1 * longest:
                return False
        return len(self.neighbours(v)) + len(self.neighbours(u)) - 4 < 12  # no hub of many triangles

    def collapse(self, u: int, v: int) -> list[tuple[int, tuple[int, int, int]]]:
        """Move u onto v; returns what `undo` needs."""
        changed = [(i, self.faces[i]) for i in sorted(self.around[u])]
        for i, face in changed:
            for w in face:
                self.around[w].discard(i)
            if v in face:
                del self.faces[i]
            else:
                self.faces[i] = tuple(v if w == u else w for w in face)  # type: ignore[assignment]
                for w in self.faces[i]:
                    self.around[w].add(i)
        return changed

    def undo(self, changed: list[tuple[int, tuple[int, int, int]]]) -> None:
        for i, _ in changed:
            for w in self.faces.get(i, ()):
                self.around[w].discard(i)
        for i, face in changed:
            self.faces[i] = face
            for w in face:
                self.around[w].add(i)


def decimate(vertices: Floats, faces: Ints, mirror: Ints, count: int, keep: Ints) -> tuple[Ints, Ints]:
    """Collapse edges until `count` vertices are left.

    Args:
        vertices: (V, 3) m, symmetric about x = 0.
        faces: of a closed surface, symmetric too, (F, 3).
        mirror: each vertex' mirror image, (V,); its own where it lies on the plane.
        count: of vertices to keep.
        keep: vertices that must stay.

    Returns:
        The vertices that stay, ascending, and the faces between them, as indices into these.
    """
    mesh = _Mesh(vertices, faces)
    quadrics = _quadrics(vertices, faces)
    kept = set(keep.tolist()) | set(mirror[keep].tolist())
    left = vertices[:, 0] >= -1e-9
    places = np.concatenate((vertices, np.ones((len(vertices), 1))), axis=1)
    version = [0] * len(vertices)
    heap: list[tuple[float, int, int, int, int]] = []

    def offer(u: int) -> None:
        if not left[u] or u in kept or not mesh.around[u]:
            return
        onto = np.array([v for v in sorted(mesh.neighbours(u)) if left[v] and (mirror[u] != u or mirror[v] == v)])
        if len(onto):
            change = np.einsum("ki,kij,kj->k", places[onto], quadrics[u] + quadrics[onto], places[onto])
            cost = change + _EVENNESS * np.square(vertices[onto] - vertices[u]).sum(axis=1) ** 2
            for v, c in zip(onto.tolist(), cost.tolist(), strict=True):  # rounded, so that other machines take the same turns
                heapq.heappush(heap, (float(f"{c:.8e}"), u, v, version[u], version[v]))

    for u in range(len(vertices)):
        offer(u)
    remaining = len(vertices)
    while remaining > count:
        _, u, v, version_u, version_v = heapq.heappop(heap)
        twin_u, twin_v = int(mirror[u]), int(mirror[v])
        pair = twin_u != u
        if not mesh.around[u] or (version[u], version[v]) != (version_u, version_v) or remaining - count < 1 + pair:
            continue
        if twin_u in mesh.neighbours(u) or not mesh.may_collapse(u, v):
            continue
        changed = mesh.collapse(u, v)
        if pair and not mesh.may_collapse(twin_u, twin_v):
            mesh.undo(changed)
            continue
        if pair:
            mesh.collapse(twin_u, twin_v)
        remaining -= 1 + pair
        for gone, into in {(u, v), (twin_u, twin_v)}:
            quadrics[into] = quadrics[into] + quadrics[gone]
        touched = {v, twin_v}
        for w in touched:
            version[w] += 1
        for w in sorted(set().union(touched, *(mesh.neighbours(w) for w in touched))):
            version[w] += 1
        for w in sorted(set().union(touched, *(mesh.neighbours(w) for w in touched))):
            offer(w)
            for x in sorted(mesh.neighbours(w)):
                offer(x) if x not in touched else None
    stays = np.array([v for v, around in enumerate(mesh.around) if around], dtype=np.int64)
    index = np.full(len(vertices), -1, dtype=np.int64)
    index[stays] = np.arange(len(stays))
    return stays, index[np.array([mesh.faces[i] for i in sorted(mesh.faces)], dtype=np.int64)]


def _quadrics(vertices: Floats, faces: Ints) -> Floats:
    """Of each vertex, the squared distance to the planes of its triangles, weighted by their areas, as a form, (V, 4, 4)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal / np.maximum(area, 1e-12)
    plane = np.concatenate((normal, -(normal * a).sum(axis=1, keepdims=True)), axis=1)
    form = plane[:, :, None] * plane[:, None, :] * (area[:, :, None] / 6)
    quadrics = np.zeros((len(vertices), 4, 4))
    for k in range(3):
        np.add.at(quadrics, faces[:, k], form)
    return quadrics
