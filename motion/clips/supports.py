"""Where a body can push the floor: corners of the soles, and the undersides of the round parts.

A `Support` is a point of a body with a radius around it; the floor pushes at its lowest point. The corners of a foot have no radius
and stay where they are; round parts roll.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from mprl.motion.characters.humanoid import HUMANOID

Array = NDArray[np.float64]
Intervals = Sequence[tuple[float, float]]

MODEL = HUMANOID.model


@dataclass(frozen=True)
class Support:
    """A point of a body (seen from the body) and a radius around it, m."""

    body: int
    point: tuple[float, float, float]
    radius: float = 0.0


@cache
def parts() -> dict[str, tuple[Support, ...]]:
    """What can be named in a schedule of contacts: "right_foot", "right_toe", "right_heel", "right_hand", "right_knee", "pelvis", ..."""
    found: dict[str, tuple[Support, ...]] = {}
    for side in ("right", "left"):
        foot = MODEL.geom(f"{side}_ankle")
        corners = [Support(foot.bodyid[0], tuple(foot.pos + foot.size * [x, y, -1])) for x in (-1, 1) for y in (-1, 1)]
        found |= {f"{side}_foot": tuple(corners), f"{side}_heel": tuple(corners[:2]), f"{side}_toe": tuple(corners[2:])}
        found[f"{side}_hand"] = _ends(f"{side}_wrist")
        for part, geom in (("knee", "knee"), ("elbow", "elbow")):
            ends = _ends(f"{side}_{geom}")
            found[f"{side}_{part}"] = (min(ends, key=lambda s: float(np.linalg.norm(s.point))),)
    for part, geom in (("pelvis", "root"), ("chest", "chest"), ("head", "neck")):
        found[part] = _ends(geom)
    return found


def _ends(name: str) -> tuple[Support, ...]:
    """The spheres at the ends of a capsule, or the one that a sphere is."""
    geom = MODEL.geom(name)
    centre, radius = geom.pos, float(geom.size[0])
    if geom.type[0] == mujoco.mjtGeom.mjGEOM_SPHERE:
        return (Support(geom.bodyid[0], tuple(centre), radius),)
    along = np.zeros(3)
    mujoco.mju_rotVecQuat(along, np.array([0.0, 0.0, geom.size[1]]), geom.quat)
    return tuple(Support(geom.bodyid[0], tuple(centre + sign * along), radius) for sign in (-1, 1))


@cache
def all_supports() -> tuple[Support, ...]:
    """Each point that may not sink into the floor: every part's, and the rest of all geoms (the top of a foot too)."""
    found = dict.fromkeys(support for part in parts().values() for support in part)
    for geom in range(MODEL.ngeom):
        if MODEL.geom_bodyid[geom] == 0:
            continue
        if MODEL.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX:
            centre, size = MODEL.geom_pos[geom], MODEL.geom_size[geom]
            body = int(MODEL.geom_bodyid[geom])
            found |= dict.fromkeys(Support(body, tuple(centre + size * [x, y, 1])) for x in (-1, 1) for y in (-1, 1))
        else:
            found |= dict.fromkeys(_ends(MODEL.geom(geom).name))
    return tuple(found)


def schedule(contacts: Mapping[str, Intervals], time: Array) -> NDArray[np.bool_]:
    """Which supports bear at which times, (T, supports): a part does from the first to the last time of an interval, s."""
    supports = all_supports()
    bears = np.zeros((len(time), len(supports)), dtype=bool)
    for part, intervals in contacts.items():
        columns = np.array([supports.index(support) for support in parts()[part]])
        for first, last in intervals:
            rows = np.flatnonzero((time >= first - 1e-6) & (time <= last + 1e-6))
            bears[rows[:, None], columns] = True
    return bears


def feet_bear(bears: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which feet (right, left) bear, (T, 2), of which supports do."""
    supports = all_supports()
    columns = [[supports.index(support) for support in parts()[f"{side}_foot"]] for side in ("right", "left")]
    return np.stack([bears[:, column].any(axis=1) for column in columns], axis=1)


@cache
def overlap_pairs() -> tuple[tuple[int, int], ...]:
    """Pairs of geoms that may not reach into each other: neighbours and what can hardly meet are left out."""

    def geom(name: str) -> int:
        return int(MODEL.geom(name).id)

    pairs = []
    for side, other in (("right", "left"), ("left", "right")):
        for arm in ("elbow", "wrist"):
            rest = ("root", "chest", "neck", "right_hip", "left_hip", "right_knee", "left_knee")
            pairs += [(geom(f"{side}_{arm}"), geom(name)) for name in rest]
        pairs += [(geom(f"{side}_{leg}"), geom("chest")) for leg in ("hip", "knee")]
        pairs += [(geom(f"{side}_{leg}"), geom(f"{other}_knee")) for leg in ("hip", "ankle")]
        pairs.append((geom(f"{side}_elbow"), geom(f"{other}_wrist")))
    pairs += [(geom(f"right_{part}"), geom(f"left_{part}")) for part in ("hip", "knee", "ankle", "elbow", "wrist")]
    return tuple(pairs)
