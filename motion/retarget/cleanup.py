"""Feet that stand still on the floor, and nothing below it.

A foot bears on the floor while one of its points is near it and slow. As long as it bears it is moved, as it is turned, so that
what touches stays where it is; in between it is led from one such correction to the next, or back to where it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d, uniform_filter1d

from mprl.motion.clip import Array

HEIGHT, SPEED = 0.05, 0.6  # m and m/s: a point nearer to the floor and slower than this bears on it
_GAP = 0.1  # s; a shorter lift is no step, a shorter touch no stance
_BLEND = 0.25  # s, from a stance's correction to none
_SPREAD = 0.08  # m; a slow point that comes further than this from its middle has moved on to another place
_TOLERANCE = 1e-3  # m, of depth
_SOFT = 0.025  # s, standard deviation of the filter that takes the corners off corrections


@dataclass(frozen=True)
class Stance:
    """When feet bear on the floor, (T, 2) left and right, and how far each foot must be moved for that, (T, 2, 3) m."""

    bears: NDArray[np.bool_]
    shift: Array


def floor_height(points: Array, frame_rate: float) -> float:
    """How high the floor lies below feet that stand on it, (T, P, 3) points of both: the height that slow feet come back to, m."""
    speed = np.linalg.norm(np.gradient(points, axis=0), axis=-1) * frame_rate
    frames = np.arange(len(points))
    lowest = points[..., 2].argmin(axis=1)
    height, slow = points[frames, lowest, 2], speed[frames, lowest] < SPEED
    return float(np.quantile(height[slow] if slow.mean() > 0.05 else height, 0.25 if slow.mean() > 0.05 else 0.05))


def stances(feet: tuple[Array, Array], frame_rate: float, cyclic: bool, step: Array) -> Stance:
    """Find what bears, and how to hold it still.

    Args:
        feet: points of the left and of the right foot, (T, P, 3) m, on a floor at z = 0.
        frame_rate: Hz.
        cyclic: the last frame is the first one of the next cycle, `step` (3,) m further on.
        step: of a cycle.
    """
    bears, shifts = [], []
    for points in feet:
        rows = slice(None)
        if cyclic:  # three cycles, of which the middle one is kept
            period = len(points) - 1
            points = np.concatenate((points[:-1] - step, points, points[1:] + step))
            rows = slice(period, 2 * period + 1)
        found, shift = _foot(points, frame_rate)
        bears.append(found[rows])
        shifts.append(shift[rows])
    return Stance(np.stack(bears, axis=1), np.stack(shifts, axis=1))


def _foot(points: Array, frame_rate: float) -> tuple[NDArray[np.bool_], Array]:
    speed = np.linalg.norm(np.gradient(points, axis=0), axis=-1) * frame_rate
    lowest = points[..., 2].min(axis=1)
    near = (points[..., 2] < HEIGHT) & (points[..., 2] < lowest[:, None] + 0.025)
    width = 2 * int(0.5 * _GAP * frame_rate) + 1
    touching = (speed < SPEED) & near
    touching = minimum_filter1d(maximum_filter1d(touching, width, axis=0), width, axis=0)  # short lifts
    touching = maximum_filter1d(minimum_filter1d(touching, width, axis=0), width, axis=0)  # short touches
    total, weight = np.zeros((len(points), 2)), np.zeros(len(points))
    for p in range(points.shape[1]):
        for first, last in _runs(touching[:, p]):
            for start, end in _standing(points[first:last, p, :2], first, width):
                place = points[start:end, p, :2]
                pin = np.median(place, axis=0)
                # of a foot that pivots the point that moves least counts most; and none begins or ends to count at once
                steady = 1.0 / (np.square(place - pin).sum(axis=1).mean() + 0.005**2)
                ends = np.minimum(np.arange(1, end - start + 1), np.arange(end - start, 0, -1))
                share = steady * np.minimum(1.0, ends / (0.5 * _GAP * frame_rate + 1.0))
                total[start:end] += share[:, None] * (pin - place)
                weight[start:end] += share
    bears, pinned = touching.any(axis=1), weight > 0
    along = _bridged(total / np.maximum(weight, 1e-9)[:, None], pinned, frame_rate)
    up = _bridged(-lowest[:, None], bears, frame_rate)
    shift = gaussian_filter1d(np.concatenate((along, up), axis=1), _SOFT * frame_rate, axis=0, mode="nearest")
    shift[:, 2] += _push(lowest + shift[:, 2], frame_rate)
    return bears, shift


def _standing(place: Array, start: int, least: int) -> list[tuple[int, int]]:
    """The parts of a slow point's path, (T, 2) m from frame `start` on, in which it stays at one place; cut where it is fastest."""
    if len(place) < max(2, least):
        return []
    if np.linalg.norm(place - np.median(place, axis=0), axis=1).max() < _SPREAD:
        return [(start, start + len(place))]
    cut = 1 + int(np.linalg.norm(np.diff(place, axis=0), axis=1).argmax())
    return _standing(place[:cut], start, least) + _standing(place[cut:], start + cut, least)


def _bridged(shift: Array, known: NDArray[np.bool_], frame_rate: float) -> Array:
    """Corrections (T, n) between those that are known: from the last one's to the next one's, or to none where that is far."""
    blend = max(2, round(_BLEND * frame_rate))
    filled = np.where(known[:, None], shift, 0.0)
    for first, last in _runs(~known):
        count = last - first
        before = filled[first - 1] if first > 0 else None
        after = filled[last] if last < len(shift) else None
        if before is not None and after is not None and count <= 2 * blend:
            rise = _smoothstep(count)
            filled[first:last] = (1 - rise) * before + rise * after
            continue
        reach = min(blend, count)
        fall = 1 - _smoothstep(reach)
        if before is not None:
            filled[first : first + reach] += fall * before
        if after is not None:
            filled[last - reach : last] += fall[::-1] * after
    return filled


def _smoothstep(count: int) -> Array:
    """A smooth rise from 0 to 1, both ends left out, (count, 1)."""
    u = np.arange(1, count + 1)[:, None] / (count + 1)
    return u * u * (3 - 2 * u)


def _push(height: Array, frame_rate: float) -> Array:
    """The smallest smooth lift that leaves nothing below the floor, (T,) m."""
    depth = np.maximum(0.0, -height)
    if depth.max() < _TOLERANCE:
        return np.zeros_like(depth)
    width = 2 * max(1, round(0.05 * frame_rate)) + 1
    return uniform_filter1d(maximum_filter1d(depth, width), width)


def lift(depth: Array, frame_rate: float, cyclic: bool, window: float = 0.1) -> Array:
    """How far to raise a body that sinks `depth` (T,) m into the floor: smooth, and enough at every frame, (T,) m."""
    depth = np.maximum(0.0, depth - _TOLERANCE)
    if depth.max() == 0:
        return depth
    width = 2 * max(1, round(window * frame_rate)) + 1
    if not cyclic:
        return uniform_filter1d(maximum_filter1d(depth, width), width)
    ring = np.maximum(depth[:-1], np.r_[depth[-1], np.zeros(len(depth) - 2)])
    raised = uniform_filter1d(maximum_filter1d(ring, width, mode="wrap"), width, mode="wrap")
    return np.append(raised, raised[0])


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last index of each run of trues."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
