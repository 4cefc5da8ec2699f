"""Who is who from frame to frame, and which of several people is meant."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from mprl.perception.pose2d.formats.detections import Array, Person

_FAR = 0.6  # of a person's size: who moved further than this is somebody else
_LOST = 30  # frames without anybody near after which a track ends


def tracks(frames: list[list[Person]]) -> list[dict[int, Array]]:
    """People followed over time, the best seen first.

    Where the file says who is who, it is believed. Otherwise people of neighbouring frames are paired so that keypoints seen in both
    move least in all, as a share of the person's size.

    Args:
        frames: who is in each.

    Returns:
        For each person keypoints (K, 3) by frame, sorted by the sum of all confidences.
    """
    found: list[dict[int, Array]] = []
    known: dict[int, dict[int, Array]] = {}
    for frame, people in enumerate(frames):
        strangers = []
        for one in people:
            if not one.keypoints[:, 2].any():
                continue
            if one.identity is None:
                strangers.append(one.keypoints)
            elif frame not in known.setdefault(one.identity, {}):
                known[one.identity][frame] = one.keypoints
        alive = [track for track in found if frame - max(track) <= _LOST]
        cost = np.array([[_distance(track[max(track)], new) for new in strangers] for track in alive]).reshape(len(alive), len(strangers))
        rows, columns = linear_sum_assignment(cost)
        pairs = {int(new): alive[old] for old, new in zip(rows, columns, strict=True) if cost[old, new] < _FAR}
        for new, keypoints in enumerate(strangers):
            if new in pairs:
                pairs[new][frame] = keypoints
            else:
                found.append({frame: keypoints})
    return sorted([*found, *known.values()], key=lambda track: -sum(float(keypoints[:, 2].sum()) for keypoints in track.values()))


def _distance(a: Array, b: Array) -> float:
    """How far one person's keypoints are from another's, as a share of their size; large where none is seen in both."""
    both = (a[:, 2] > 0) & (b[:, 2] > 0)
    if not both.any():
        return 1e3
    size = max(float(np.ptp(x[x[:, 2] > 0, :2], axis=0).max()) for x in (a, b))
    return min(1e3, float(np.linalg.norm(a[both, :2] - b[both, :2], axis=1).mean()) / max(size, 1e-6))
