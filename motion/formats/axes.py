"""Which way is up in a motion file, which way it faces, and what its unit of length is: looked for in the motion, said once.

World frames differ: y up and facing z (most BVH), z up and facing -y (Blender), centimetres, inches, or the units of CMU's ASF files.
Ours is z up, x forward, metres. Axes are only relabelled: no rotation by an odd angle, so that what is level stays exactly level.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mprl.errors import SettingError, nearest

log = logging.getLogger("mprl")
UNITS = {
    "m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "inch": 0.0254, "foot": 0.3048,
    "cmu": 0.0254 / 0.45,  # ASF/AMC files of CMU, and BVH made from them
}  # fmt: skip
_WORDS = {"m": "metres", "dm": "decimetres", "cm": "centimetres", "mm": "millimetres", "inch": "inches", "foot": "feet",
          "cmu": "CMU's units (56 mm)"}  # fmt: skip
AXES = ("x", "y", "z", "-x", "-y", "-z")
REACH = 1.2  # m; from a person's hips to the finger tips along the bones, or to the toes: the longest chain
_LEFT, _RIGHT = (  # LeftArm, left_arm, L_Arm, LArm, lArm, Arm.L, arm_l, Bip01 L Arm
    re.compile(rf"(?i:{word})|(?:^|[_. ])[{word[0]}{word[0].upper()}](?:[_. ]|(?=[A-Z])|$)", re.ASCII) for word in ("left", "right")
)
_HEAD, _FOOT = re.compile(r"head|neck", re.I), re.compile(r"foot|feet|ankle|toe|shin|leg", re.I)
_said: set[str] = set()


@dataclass(frozen=True)
class Frame:
    """How a file measures: `relabel @ v * scale` brings its vectors to ours."""

    relabel: np.ndarray
    scale: float
    up: str
    facing: str

    def __str__(self) -> str:
        unit = next((name for name, size in UNITS.items() if abs(size / self.scale - 1) < 1e-9), None)
        return f"{_WORDS[unit] if unit else f'units of {self.scale:g} m'}, {self.up} up, facing {self.facing}"


def find(
    names: Sequence[str], parents: Sequence[int], rest: np.ndarray, posed: np.ndarray, scale: float | str | None, up: str | None
) -> Frame:
    """The frame of a file of some skeleton.

    Args:
        names, parents: the J joints.
        rest: each joint's offset from its parent, (J, 3), in the file's units.
        posed: where the joints are in some frames, (F, J, 3).
        scale: metres in the file's unit, or the unit's name; None: by the length of the longest chain of bones, taken for a person's.
        up: the axis that points up; None: from the feet to the head, over the motion.

    Raises:
        SettingError: an unknown unit or axis.
    """
    upward = _axis(up) if up is not None else _upward(names, posed)
    standing = np.zeros_like(rest)
    for joint, parent in enumerate(parents):
        standing[joint] = rest[joint] + (standing[parent] if parent >= 0 else 0)
    forward = _forward(names, standing, upward)
    relabel = np.stack((forward, np.cross(upward, forward), upward))
    return Frame(relabel, metres(scale) if scale is not None else _guess_scale(parents, rest), _name(upward), _name(forward))


def say(name: str, frame: Frame) -> None:
    """Tell the user what was found, once for each finding."""
    if str(frame) not in _said:
        _said.add(str(frame))
        log.info("%s: read as %s (say otherwise: --scale, --up)", name, frame)


def metres(scale: float | str) -> float:
    """The unit `scale` in metres: a number, or its name.

    Raises:
        SettingError: neither.
    """
    if isinstance(scale, str) and scale in UNITS:
        return UNITS[scale]
    try:
        number = float(scale)
    except (TypeError, ValueError):
        raise SettingError(
            f"scale: expected metres in a unit of the file, or one of {', '.join(UNITS)}, found '{scale}'{nearest(str(scale), UNITS)}"
        ) from None
    if not 1e-6 <= number <= 1e3:
        raise SettingError(f"scale: expected metres in a unit of the file, found {number:g}")
    return number


def _axis(name: str) -> np.ndarray:
    if name not in AXES:
        raise SettingError(f"up: expected one of {', '.join(AXES)}, found '{name}'")
    axis = np.zeros(3)
    axis["xyz".index(name[-1])] = -1.0 if name.startswith("-") else 1.0
    return axis


def _name(axis: np.ndarray) -> str:
    index = int(np.argmax(np.abs(axis)))
    return ("-" if axis[index] < 0 else "") + "xyz"[index]


def _snapped(vector: np.ndarray) -> np.ndarray:
    """The axis nearest to a vector."""
    index = int(np.argmax(np.abs(vector)))
    axis = np.zeros(3)
    axis[index] = np.sign(vector[index]) or 1.0
    return axis


def _upward(names: Sequence[str], posed: np.ndarray) -> np.ndarray:
    """From the feet to the head in the mean over the motion; y where there are no such names or the motion does not tell."""
    heads = [i for i, name in enumerate(names) if _HEAD.search(name)]
    feet = [i for i, name in enumerate(names) if _FOOT.search(name)]
    if not heads or not feet:
        return _axis("y")
    along = posed[:, heads].mean(axis=1) - posed[:, feet].mean(axis=1)
    length = np.linalg.norm(along, axis=1, keepdims=True)
    mean = (along / np.maximum(length, 1e-9)).mean(axis=0)
    return _snapped(mean) if np.abs(mean).max() > 0.6 else _axis("y")


def _forward(names: Sequence[str], standing: np.ndarray, upward: np.ndarray) -> np.ndarray:
    """Where the rest pose faces: up is to the left as forward is to up; z with y up, and -y with z up, where that does not tell."""
    fallback = {"y": "z", "z": "-y", "x": "z", "-y": "z", "-z": "y", "-x": "z"}[_name(upward)]
    left = [i for i, name in enumerate(names) if _LEFT.search(name) and not _RIGHT.search(name)]
    right = [i for i, name in enumerate(names) if _RIGHT.search(name) and not _LEFT.search(name)]
    size = np.ptp(standing, axis=0).max()
    if not left or not right or size <= 0:
        return _axis(fallback)
    heads = [i for i, name in enumerate(names) if _HEAD.search(name)]
    feet = [i for i, name in enumerate(names) if _FOOT.search(name)]
    if heads and feet:
        along = standing[heads].mean(axis=0) - standing[feet].mean(axis=0)
        if along @ upward < 0.6 * np.linalg.norm(along):  # the rest pose does not stand: LAFAN1's has all bones along x
            return _axis(fallback)
    across = standing[left].mean(axis=0) - standing[right].mean(axis=0)
    across = across - (across @ upward) * upward
    if np.linalg.norm(across) < 0.02 * size or np.abs(across).max() < 0.9 * np.linalg.norm(across):
        return _axis(fallback)
    return np.cross(_snapped(across), upward)


def _guess_scale(parents: Sequence[int], rest: np.ndarray) -> float:
    """The unit in which the longest chain of bones is closest to a person's."""
    chain = np.zeros(len(parents))
    for joint, parent in enumerate(parents):
        if parent >= 0:
            chain[joint] = chain[parent] + np.linalg.norm(rest[joint])
    longest = chain.max()
    if not longest > 0:
        return 1.0
    return min(UNITS.values(), key=lambda unit: abs(np.log(longest * unit / REACH)))
