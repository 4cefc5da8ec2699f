"""What people look like: skin, hair and clothes as a colour for each triangle of the body."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mprl.motion.body.joints import JOINTS
from mprl.motion.body.landmarks import SMPL_INDEX
from mprl.motion.body.smpl import SmplBody

Array = NDArray[np.float32]

PARTS = (
    "none", "head", "torso",
    *(f"{side}_{part}" for part in ("upper_arm", "forearm", "hand", "thigh", "shank", "foot") for side in ("left", "right")),
)  # fmt: skip
PATTERNS = ("plain", "stripes", "hoops", "checks", "spots", "fade")
_PART_OF = {
    "pelvis": "torso", "spine": "torso", "collar": "torso", "neck": "head", "head": "head", "shoulder": "upper_arm", "elbow": "forearm",
    "wrist": "hand", "hand": "hand", "hip": "thigh", "knee": "shank", "ankle": "foot", "foot": "foot",
}  # fmt: skip
_LIGHT, _DARK = np.array([0.96, 0.80, 0.69], np.float32), np.array([0.28, 0.17, 0.11], np.float32)  # skins


class Wardrobe:
    """Dresses one body.

    Args:
        body: of SMPL's joints and, for the face, SMPL's landmarks.

    Attributes:
        part: which of `PARTS` each triangle belongs to, (F,) uint8.
    """

    def __init__(self, body: SmplBody) -> None:
        faces, weights = body.faces.cpu().numpy(), body.weights.cpu().numpy()
        template = body.v_template.cpu().numpy().astype(np.float32)
        self._centre = template[faces].mean(axis=1)  # at rest: T-pose, y up, the left arm along +x
        owner = weights[faces].sum(axis=1).argmax(axis=1)
        limb = np.array([name.removeprefix("left_").removeprefix("right_").rstrip("123") for name in JOINTS])
        self._of = {str(name): np.flatnonzero(limb[owner] == name) for name in limb}  # triangles
        self.part = np.array([_part(name) for name in JOINTS], np.uint8)[owner]
        head = limb[owner] == "head"
        eyes = template[[SMPL_INDEX["left_eye"], SMPL_INDEX["right_eye"]]]
        _, y, z = self._centre.T
        top = y[head].max()
        is_behind = z < z[head].min() + 0.45 * (z[head].max() - z[head].min())
        self._hair = [head & (y > eyes[0, 1] + share * (top - eyes[0, 1]) - 0.10 * is_behind) for share in (0.35, 0.55, 0.75)]
        self._eyes = np.linalg.norm(self._centre[:, None] - eyes, axis=2).min(axis=1) < 0.013
        lips = template[SMPL_INDEX["nose"]] + np.array([0.0, -0.045, -0.015], np.float32)
        self._lips = np.linalg.norm((self._centre - lips) * np.array([0.6, 1.6, 1.0], np.float32), axis=1) < 0.014

    def dress(self, rng: np.random.Generator, patterns: tuple[str, ...] = PATTERNS) -> Array:
        """A colour for each triangle, (F, 3) in [0, 1]; another person each time."""
        tone = rng.random()
        skin = ((1 - tone) * _LIGHT + tone * _DARK) * rng.uniform(0.9, 1.08)
        colours = np.tile(skin.astype(np.float32), (len(self.part), 1))

        def wear(parts: tuple[str, ...]) -> None:
            worn = np.concatenate([self._of[part] for part in parts])
            colours[worn] = _cloth(rng, patterns[rng.integers(len(patterns))], self._centre[worn])

        shirt = ("spine", "collar", *("shoulder", "elbow")[: int(2 * rng.random() + 0.7)])
        trousers = ("pelvis", "hip", *(("knee",) if rng.random() < 0.7 else ()))
        if rng.random() < 0.08:
            wear((*shirt, *trousers))
        else:
            wear(shirt)
            wear(trousers)
        if rng.random() < 0.85:
            wear(("ankle", "foot"))
        if rng.random() < 0.08:
            wear(("wrist", "hand"))
        if rng.random() < 0.9:
            colours[self._hair[rng.integers(3)]] = _hair(rng)
        colours[self._eyes] = rng.uniform(0.02, 0.3, 3)
        colours[self._lips] *= np.array([0.85, 0.6, 0.6], np.float32)
        return np.clip(colours, 0.0, 1.0)


def _cloth(rng: np.random.Generator, pattern: str, at: Array) -> Array:
    """The colour of a cloth at places of the body at rest, (N, 3) m -> (N, 3)."""
    first, second = rng.random((2, 3)).astype(np.float32) * rng.uniform(0.5, 1.0)
    x, y, z = at.T / rng.uniform(0.03, 0.14)
    share: dict[str, Callable[[], Array]] = {
        "plain": lambda: np.zeros_like(x),
        "stripes": lambda: (np.sin(np.pi * x) > 0).astype(np.float32),
        "hoops": lambda: (np.sin(np.pi * y) > 0).astype(np.float32),
        "checks": lambda: ((np.floor(x) + np.floor(y) + np.floor(z)) % 2).astype(np.float32),
        "spots": lambda: _noise(rng, x, y, z),
        "fade": lambda: ((at[:, 1] - at[:, 1].min()) / np.ptp(at[:, 1])).astype(np.float32),
    }
    mixed = share[pattern]()[:, None]
    return (1 - mixed) * first + mixed * second


def _part(joint: str) -> int:
    side, name = joint.split("_", 1) if "_" in joint else ("", joint)
    part = _PART_OF[name.rstrip("123")]
    return PARTS.index(part if part in PARTS else f"{side}_{part}")


def _hair(rng: np.random.Generator) -> Array:
    shades = np.array([[0.08, 0.06, 0.05], [0.30, 0.18, 0.09], [0.75, 0.58, 0.32], [0.55, 0.22, 0.10], [0.65, 0.65, 0.65]], np.float32)
    return shades[rng.integers(len(shades))] * rng.uniform(0.8, 1.2, 3).astype(np.float32)


def _noise(rng: np.random.Generator, x: Array, y: Array, z: Array) -> Array:
    """A random number for each cell of a grid."""
    table = rng.random(4096).astype(np.float32)
    cell = [np.floor(axis).astype(np.int64) for axis in (x, y, z)]
    return table[(cell[0] * 73856093 ^ cell[1] * 19349663 ^ cell[2] * 83492791) % 4096]
