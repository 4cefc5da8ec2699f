"""Which way is up, from balance: who moves for some seconds without falling has the centre of mass, on average, above the feet.

A floor found from where feet stand is well known along the path that they go, and hardly across it, where feet are a hand apart. A picture
tells little more: a camera that rolls and a person who leans look alike.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from mprl.motion.characters.character import Character
from mprl.motion.clip import MotionClip
from mprl.motion.library import body_motion, prepared

_TIPPED = math.radians(60)


def lean(clip: MotionClip, character: Character) -> NDArray[np.float64]:
    """By how much a motion leans across the line along which its feet bear, as the rotation vector that sets it upright, (3,) rad.

    The mean force of the floor passes through the centre of mass but for its mean acceleration, which over some seconds is little. It tells
    nothing of who lies, crawls or turns over: where the trunk is ever `_TIPPED` or more the answer is zero.

    Args:
        clip: of the character's joints.
        character: whose masses, and whose feet; of the clip's own size, that they bear on the floor.
    """
    character.check(clip)
    contacts = prepared(clip, character, correct_floor=False).contacts
    assert contacts is not None
    still = np.zeros((clip.num_frames, character.model.nv))
    bodies, com, _ = body_motion(character.model, character.to_qpos(clip).numpy(), still)
    trunk = bodies[:, character.body_names.index(character.head)] - bodies[:, 0]
    if bool((trunk[:, 2] < math.cos(_TIPPED) * trunk.norm(dim=-1)).any()):
        return np.zeros(3)
    feet = bodies[:, [character.body_names.index(name) for name in character.feet]]
    bears = torch.tensor(contacts, dtype=bodies.dtype).unsqueeze(-1)
    if float(bears.sum()) <= 0:
        return np.zeros(3)
    support = (feet * bears).sum(dim=(0, 1)) / bears.sum()
    spread = ((feet[..., :2] - support[:2]) * bears).flatten(0, 1)
    along = torch.linalg.eigh(spread.T @ spread)[1][:, -1]
    across = torch.stack((-along[1], along[0]))
    # the body's mass where its feet bear, as heavy in each foot's time as that foot
    centre = (com * bears.sum(dim=1)).sum(dim=0) / bears.sum()
    off, height = float(across @ (centre - support)[:2]), float(centre[2])
    return np.arctan2(off, height) * np.array([float(along[0]), float(along[1]), 0.0])
