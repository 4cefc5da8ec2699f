"""What a body model says of a physical body: joints, masses and shapes of its 24 parts, for many bodies at once.

All in our own frame: z up, facing +x, the left arm along +y, the lowest point at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.motion.body.joints import JOINTS, PARENTS, from_smpl
from mprl.motion.body.parts import Parts
from mprl.motion.body.smpl import SmplBody
from mprl.motion.characters.primitives import Boxes, Capsules, box_distance, capsule_distance, fit_boxes, fit_capsules

Array = NDArray[np.float64]

DENSITY = 985.0  # kg/m³, of a living person with air in the lungs
FEET = ("left_ankle", "right_ankle", "left_foot", "right_foot")
HANDS = ("left_wrist", "right_wrist", "left_hand", "right_hand")
_AT_ONCE = 8  # bodies measured in one go
_UP, _LEFT = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
# which way a capsule lies: across the trunk, up the head, along the limbs (to the next joint, or on from the last one)
_ACROSS = ("pelvis", "spine1", "spine2", "spine3", "left_collar", "right_collar")
_UPRIGHT = ("neck", "head")
_PARENT = {name: JOINTS[parent] for name, parent in zip(JOINTS[1:], PARENTS[1:], strict=True)}
_CHILD = {parent: name for name, parent in _PARENT.items()}


@dataclass(frozen=True)
class Physique:
    """One body, measured.

    Attributes:
        height: of the T-pose, m.
        joints: (24, 3) m. mass: (24,) kg. centre: of mass of each part, (24, 3) m. inertia: about it, (24, 3, 3) kg m².
        capsules: ends (2, 3) m and radius m by joint. boxes: centre (3,), half sizes (3,) and axes as rows (3, 3) by joint.
        misfit: mean distance of each part's vertices from the surface of its shape, (24,) m.
    """

    height: float
    joints: Array
    mass: Array
    centre: Array
    inertia: Array
    capsules: dict[str, tuple[Array, float]]
    boxes: dict[str, tuple[Array, Array, Array]]
    misfit: Array


_known: WeakKeyDictionary[SmplBody, tuple[Parts, dict[bytes, Physique]]] = WeakKeyDictionary()


def measure(body: SmplBody, betas: Tensor) -> list[Physique]:
    """The physical bodies of some shapes, (B, S); what was measured once is remembered."""
    if body not in _known:
        _known[body] = Parts(body.faces.cpu().numpy(), body.weights.double().cpu().numpy()), {}
    parts, known = _known[body]
    keys = [row.numpy().tobytes() for row in betas.double()]
    new = {key: row for key, row in zip(keys, betas, strict=True) if key not in known}
    if new:
        for some in torch.stack(list(new.values())).split(_AT_ONCE):
            known |= zip([row.numpy().tobytes() for row in some.double()], _measure(body, parts, some), strict=True)
    return [known[key] for key in keys]


def _measure(body: SmplBody, parts: Parts, betas: Tensor) -> list[Physique]:
    with torch.no_grad():
        vertices, joints = (from_smpl(points.double().cpu()).numpy() for points in body(betas))
    floor = np.array([0.0, 0.0, 1.0]) * vertices[..., 2].min(axis=1)[:, None, None]
    vertices, joints = vertices - floor, joints - floor
    at = dict(zip(JOINTS, np.moveaxis(joints, 1, 0), strict=True))
    capsules: dict[str, Capsules] = {}
    boxes: dict[str, Boxes] = {}
    misfit = np.empty(joints.shape[:2])
    for number, name in enumerate(JOINTS):
        points = vertices[:, parts.vertices[number]]
        if name in (*FEET, *HANDS):  # boxes; all else is capsules
            fit = _foot if name in FEET else _hand
            boxes[name] = fit(points, at[name], at[_PARENT[name]], at.get(_CHILD.get(name, "")))
            distance = box_distance(points, boxes[name])
        else:
            capsules[name] = fit_capsules(points, _direction(name, at))
            distance = capsule_distance(points, capsules[name])
        misfit[:, number] = np.abs(distance).mean(axis=1)
    axes = [capsules[name].ends if name in capsules else boxes[name].spine() for name in JOINTS]
    solids = parts.solids(vertices, np.stack(axes, axis=1))
    return [
        Physique(
            float(np.ptp(vertices[i, :, 2])),
            joints[i],
            DENSITY * solids.volume[i],
            solids.centre[i],
            DENSITY * solids.inertia[i],
            {name: (fitted.ends[i], float(fitted.radius[i])) for name, fitted in capsules.items()},
            {name: (fitted.centre[i], fitted.half[i], fitted.axes[i]) for name, fitted in boxes.items()},
            misfit[i],
        )
        for i in range(len(betas))
    ]


def _direction(name: str, at: dict[str, Array]) -> Array:
    """About which way a capsule lies, (B, 3) or (3,)."""
    if name in _ACROSS:
        return _LEFT
    if name in _UPRIGHT:
        return _UP
    return at[_CHILD[name]] - at[name] if name in _CHILD else at[name] - at[_PARENT[name]]


def _foot(points: Array, joint: Array, parent: Array, child: Array | None) -> Boxes:
    """A box on the floor, as long and wide as this part of the foot and turned like it."""
    ahead = (child - joint if child is not None else joint - parent) * [1.0, 1.0, 0.0]
    return fit_boxes(points, _axes(ahead, np.broadcast_to(_UP, ahead.shape)), beyond=(0.01, 0.04, 0.0), top=0.8)


def _hand(points: Array, joint: Array, parent: Array, child: Array | None) -> Boxes:
    """A box about the palm, or the fingers, along the forearm, palm down as in the T-pose."""
    ahead = child - joint if child is not None else joint - parent
    side = np.cross(_UP, ahead)
    return fit_boxes(points, _axes(ahead, np.cross(ahead, side)), beyond=(0.03, 0.08, 0.08), top=0.92)


def _axes(ahead: Array, up: Array) -> Array:
    """Two directions at right angles, (B, 3) each, as rows of a rotation with the one between them, (B, 3, 3)."""
    ahead, up = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (ahead, up))
    return np.stack((ahead, np.cross(up, ahead), up), axis=1)
