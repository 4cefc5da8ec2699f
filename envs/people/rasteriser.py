"""Triangles to pixels on the processor: which triangle each pixel shows, and how far away it is.

Made for meshes whose triangles are about as large as a pixel: all pixels of all triangles' bounding boxes are tried at once. It works
without OpenGL, and the same numbers give the same picture. How fast it is beside MuJoCo's renderer, which must be given a posed mesh
anew for each picture, is the row `drawing` of `mprl benchmark pose2d`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NEAR = 0.05  # m; triangles that reach nearer to the camera are not drawn


class Buffers(NamedTuple):
    """What each pixel shows.

    Attributes:
        face: which triangle, (H, W); -1 where there is none.
        depth: how far away along the camera's axis, (H, W) m; infinite where there is none.
    """

    face: Ints
    depth: Floats


def rasterise(points: Floats, depth: Floats, faces: Ints, height: int, width: int) -> Buffers:
    """Draw the triangles whose corners go round counter-clockwise in the picture: those of a closed mesh that are seen from outside.

    Args:
        points: of the corners, (V, 2) px; a pixel's centre is at +.5.
        depth: of the corners, (V,) m.
        faces: corners of each triangle, (F, 3).
        height, width: of the picture, px.
    """
    corners = faces.T
    (x0, x1, x2), (y0, y1, y2) = ([points[:, axis][corner] for corner in corners] for axis in (0, 1))
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    left, right = _pixels(x0, x1, x2, width)
    top, bottom = _pixels(y0, y1, y2, height)
    kept = np.flatnonzero((area < 0) & (right >= left) & (bottom >= top))
    kept = kept[(depth[faces[kept]] > NEAR).all(axis=1)]
    across = right[kept] - left[kept] + 1
    count = across * (bottom[kept] - top[kept] + 1)
    face = np.repeat(kept, count)
    place = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    across = np.repeat(across, count)
    column, row = left[face] + place % across, top[face] + place // across

    # barycentric coordinates of the pixel's centre
    x, y, whole = x0[face], y0[face], area[face]
    u, v = (column + 0.5).astype(np.float32) - x, (row + 0.5).astype(np.float32) - y
    b = (u * (y2[face] - y) - (x2[face] - x) * v) / whole
    c = ((x1[face] - x) * v - u * (y1[face] - y)) / whole
    inside = np.flatnonzero((b >= 0) & (c >= 0) & (b + c <= 1))
    face, pixel, b, c = face[inside], (row * width + column)[inside], b[inside], c[inside]
    z0, z1, z2 = (1.0 / depth[corner[face]] for corner in corners)  # which, unlike the depth, is linear in the picture
    nearness = z0 + b * (z1 - z0) + c * (z2 - z0)

    order = np.argsort(nearness, kind="stable")  # of several writes to a pixel the last one, the nearest, stays
    shown, found = np.full(height * width, -1), np.full(height * width, np.inf, np.float32)
    shown[pixel[order]], found[pixel[order]] = face[order], 1.0 / nearness[order]
    return Buffers(shown.reshape(height, width), found.reshape(height, width))


def _pixels(a: Floats, b: Floats, c: Floats, size: int) -> tuple[Ints, Ints]:
    """First and last pixel whose centre triangles with these corners can hold along one axis, (F,) each."""
    first = np.ceil(np.minimum(np.minimum(a, b), c) - 0.5)
    last = np.floor(np.maximum(np.maximum(a, b), c) - 0.5)
    return first.clip(0, size).astype(np.int64), last.clip(-1, size - 1).astype(np.int64)
