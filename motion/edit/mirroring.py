"""Left for right: which joints are each other's counterparts, and a motion as a mirror shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from mprl.errors import SettingError
from mprl.motion.clip import Array, MotionClip, Skeleton

_SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_OTHER = _SIDES | {other: side for side, other in _SIDES.items()}
_WORD = re.compile("left|right", re.IGNORECASE)
# a lone letter: first (LHipJoint, lhand), last (hip_l), or between separators (Bip01 L Thigh)
_LETTER = re.compile(r"^[lr](?=.)|(?<=[ _.:-])[lr](?=$|[ _.:-]|[A-Z])|(?<=[a-z])[LR]$", re.IGNORECASE)


def counterparts(names: tuple[str, ...]) -> tuple[int, ...]:
    """The joint on the other side of each joint, by name: LeftArm and RightArm, l_hip and r_hip, lhand and rhand; itself in the middle.

    Raises:
        SettingError: a joint called left or right has no counterpart.
    """
    found = []
    for index, name in enumerate(names):
        other = next((swapped for swapped in _swapped(name) if swapped in names and swapped != name), None)
        if other is None and _WORD.search(name):
            raise SettingError(f"joint '{name}' has no counterpart on the other side; the joints are {', '.join(names)}")
        found.append(index if other is None else names.index(other))
    return tuple(found)


def mirror(clip: MotionClip) -> MotionClip:
    """The motion as a mirror in the plane y = 0 shows it: left is right, and a turn to the left is one to the right.

    The skeleton stays as it is; where its two sides differ, each side moves as the other did. Labels of two feet change places,
    others are dropped, as nothing says which foot is whose counterpart.

    Raises:
        SettingError: a joint called left or right has no counterpart.
    """
    other = list(counterparts(clip.skeleton.names))
    local, world = np.eye(3) - 2.0 * _outer(sideways(clip.skeleton)), np.diag([1.0, -1.0, 1.0])
    # R -> M R M is a rotation again. In quaternions: the vector part is reflected and turned round.
    rotations = clip.rotations[:, other].copy()
    rotations[..., 1:] = -rotations[..., 1:] @ local
    if not np.allclose(local, world):  # the root goes from the world's mirror image to the skeleton's
        turn = Rotation.from_matrix(world @ local)
        rotations[:, 0] = (turn * Rotation.from_quat(rotations[:, 0], scalar_first=True)).as_quat(scalar_first=True)
        # M_world R M_local = (M_world M_local) (M_local R M_local)
    contacts = clip.contacts[:, ::-1] if clip.contacts is not None and clip.contacts.shape[1] == 2 else None
    return replace(clip, root_position=clip.root_position @ world, rotations=rotations, contacts=contacts)


def sideways(skeleton: Skeleton) -> Array:
    """The horizontal direction from right to left joints at rest, a unit vector; y where there are no pairs, or it is nearly y."""
    places = np.zeros_like(skeleton.offsets)
    for joint, parent in enumerate(skeleton.parents[1:], start=1):
        places[joint] = places[parent] + skeleton.offsets[joint]
    total = np.zeros(3)
    for joint, other in enumerate(counterparts(skeleton.names)):
        if other > joint:
            across = places[joint] - places[other]
            total += across if is_left(skeleton.names[joint]) else -across
    total[2] = 0.0
    length = np.linalg.norm(total)
    y = np.array([0.0, 1.0, 0.0])
    if length < 1e-6:
        return y
    total /= length
    axis = np.eye(3)[np.abs(total).argmax()] * np.sign(total[np.abs(total).argmax()])
    return axis if axis @ total > np.cos(np.radians(5.0)) else total


def is_left(name: str) -> bool:
    """Whether a name with a side says left."""
    found = _WORD.search(name) or _LETTER.search(name)
    return found is not None and found.group().lower().startswith("l")


def _swapped(name: str) -> Iterator[str]:
    for pattern in (_WORD, _LETTER):
        for found in pattern.finditer(name):
            side = _OTHER.get(found.group())
            if side:
                yield name[: found.start()] + side + name[found.end() :]


def _outer(v: Array) -> Array:
    return np.outer(v, v)
