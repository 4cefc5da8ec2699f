"""From the joint angles of a character or robot to a clip of its bodies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import mujoco
import numpy as np
import torch

from mprl.errors import MotionFormatError, SettingError
from mprl.motion import rotations as rot
from mprl.motion.characters.character import Character
from mprl.motion.clip import Skeleton

# How a body with three hinges is written: an angle for each (qpos), or one rotation vector (MimicKit takes it for a ball joint).
Hinges = Literal["angles", "ball"]


def character_of(character: Character | str | Path | None) -> Character | None:
    """A character by its name, by its MJCF, or as it is.

    Raises:
        SettingError: no such file, or none that a character can be made of.
    """
    if character is None or isinstance(character, Character):
        return character
    if str(character) == "humanoid":
        from mprl.motion.characters.humanoid import HUMANOID

        return HUMANOID
    from mprl.motion.characters.mjcf import load_character

    return load_character(character)


def skeleton_of(character: Character) -> Skeleton:
    """The character's bodies, named as its clips name them."""
    bare = character.skeleton
    return Skeleton(tuple(character.clip_joint(body) for body in bare.names), bare.parents, bare.offsets, bare.rest_pose)


def columns_of(character: Character, hinges: Hinges) -> int:
    """How many numbers a pose has besides the root's."""
    return sum(_widths(character, body, hinges) for body in range(2, character.model.nbody))


def rotations_of(path: Path, key: str, character: Character, angles: np.ndarray, hinges: Hinges) -> np.ndarray:
    """Rotations of all bodies but the root, (T, B - 1, 4), from their angles (T, N) in the model's order.

    A hinge has an angle, a ball joint a rotation vector, rad.

    Raises:
        MotionFormatError: the character has another number of angles.
    """
    expected = columns_of(character, hinges)
    if angles.ndim != 2 or angles.shape[1] != expected:
        raise MotionFormatError(f"{path}, key \"{key}\": '{character.name}' has {expected} joint angles, found {angles.shape}")
    model, values, column = character.model, torch.as_tensor(np.asarray(angles, dtype=np.float64)), 0
    result = torch.zeros(len(angles), model.nbody - 2, 4, dtype=torch.float64)
    result[..., 0] = 1.0
    for body in range(2, model.nbody):
        first, count, width = int(model.body_jntadr[body]), int(model.body_jntnum[body]), _widths(character, body, hinges)
        part, column = values[:, column : column + width], column + width
        if count and width == 3 and (hinges == "ball" or count == 1):
            result[:, body - 2] = rot.from_rotation_vector(part)
            continue
        for hinge in range(count):
            axis = torch.as_tensor(model.jnt_axis[first + hinge].copy()).expand(len(angles), 3)
            result[:, body - 2] = rot.multiply(result[:, body - 2], rot.from_axis_angle(axis, part[:, hinge]))
    return result.numpy()


def needed(path: Path, what: str) -> MotionFormatError:
    """The error for angles whose owner is not said."""
    return MotionFormatError(f"{path}: holds {what}; say whose, with its MJCF: character='robot.xml' (--character robot.xml)")


def _widths(character: Character, body: int, hinges: Hinges) -> int:
    model = character.model
    count = int(model.body_jntnum[body])
    if count == 0:
        return 0
    if model.jnt_type[int(model.body_jntadr[body])] == mujoco.mjtJoint.mjJNT_BALL:
        return 3
    if hinges == "ball" and count == 2:
        raise SettingError(f"'{character.name}': MimicKit knows no body with two hinges, as '{model.body(body).name}' is")
    return count
