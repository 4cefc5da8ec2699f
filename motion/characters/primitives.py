"""Capsules and boxes that lie in the skin of a part of a body: least squares over its vertices, for many bodies at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_ITERATIONS = 12
_THINNEST = 0.006  # m


class Capsules(NamedTuple):
    """One capsule in each of B bodies: the middles of its caps (B, 2, 3) m and its radius (B,) m."""

    ends: Array
    radius: Array


class Boxes(NamedTuple):
    """One box in each of B bodies: centre (B, 3) m, half sizes (B, 3) m and its axes as rows of a rotation (B, 3, 3)."""

    centre: Array
    half: Array
    axes: Array

    def spine(self) -> Array:
        """The middle line along the first axis, as far from the ends as from the nearest side, (B, 2, 3) m."""
        reach = np.maximum(self.half[:, 0] - self.half.min(axis=1), 0.0)[:, None] * self.axes[:, 0]
        return np.stack((self.centre - reach, self.centre + reach), axis=1)


def fit_capsules(points: Array, along: Array) -> Capsules:
    """The capsule whose surface is nearest to the points, by Gauss-Newton from one along a direction.

    Args:
        points: (B, N, 3) m.
        along: about which way it lies, (B, 3) or (3,).
    """
    along = np.broadcast_to(along, points[:, 0].shape)
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    middle = points.mean(axis=1)
    place = np.einsum("bnk,bk->bn", points - middle[:, None], along)
    radius = np.linalg.norm(points - middle[:, None] - place[..., None] * along[:, None], axis=-1).mean(axis=1)
    low, high = np.quantile(place, [0.05, 0.95], axis=1)
    low, high = np.minimum(low + radius, -1e-3), np.maximum(high - radius, 1e-3)
    ends = middle[:, None] + np.stack((low, high), axis=1)[..., None] * along[:, None]
    for _ in range(_ITERATIONS):
        distance, share, normal = _to_segment(points, ends)
        error = distance - radius[:, None]
        slopes = np.concatenate((-(1 - share)[..., None] * normal, -share[..., None] * normal, -np.ones_like(share)[..., None]), axis=-1)
        square = np.einsum("bni,bnj->bij", slopes, slopes)
        square += 0.01 * points.shape[1] * np.eye(7)
        step = -np.linalg.solve(square, np.einsum("bni,bn->bi", slopes, error)[..., None])[..., 0]
        ends = ends + step[:, :6].reshape(-1, 2, 3)
        radius = np.maximum(radius + step[:, 6], _THINNEST)
    return Capsules(ends, radius)


def capsule_distance(points: Array, capsules: Capsules) -> Array:
    """From points (B, N, 3) to the surface, negative inside, (B, N) m."""
    return _to_segment(points, capsules.ends)[0] - capsules.radius[:, None]


def _to_segment(points: Array, ends: Array) -> tuple[Array, Array, Array]:
    """Distance from segments (B, N), where along them the nearest point is, 0 to 1, and the direction away from it (B, N, 3)."""
    line = (ends[:, 1] - ends[:, 0])[:, None]
    share = ((points - ends[:, :1]) * line).sum(axis=-1) / np.maximum((line**2).sum(axis=-1), 1e-12)
    share = np.clip(share, 0.0, 1.0)
    away = points - ends[:, :1] - share[..., None] * line
    distance = np.maximum(np.linalg.norm(away, axis=-1), 1e-9)
    return distance, share, away / distance[..., None]


def fit_boxes(points: Array, axes: Array, beyond: tuple[float, float, float], top: float) -> Boxes:
    """Boxes of a given orientation around all but a few of the points.

    Args:
        points: (B, N, 3) m.
        axes: (B, 3, 3), rows.
        beyond: share of the points outside each lower side, and as many outside the upper ones but the third.
        top: share of the points below the third axis' upper side.
    """
    own = np.einsum("bnk,bik->bni", points, axes)
    low = np.stack([np.quantile(own[..., i], share, axis=1) for i, share in enumerate(beyond)], axis=-1)
    high = np.stack([np.quantile(own[..., i], share, axis=1) for i, share in enumerate((1 - beyond[0], 1 - beyond[1], top))], axis=-1)
    half = np.maximum(0.5 * (high - low), _THINNEST)
    return Boxes(np.einsum("bi,bik->bk", 0.5 * (low + high), axes), half, axes)


def box_distance(points: Array, boxes: Boxes) -> Array:
    """From points (B, N, 3) to the surface, negative inside, (B, N) m."""
    beyond = np.abs(np.einsum("bnk,bik->bni", points - boxes.centre[:, None], boxes.axes)) - boxes.half[:, None]
    return np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.minimum(beyond.max(axis=-1), 0.0)
