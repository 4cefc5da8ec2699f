"""A character by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mprl.errors import SettingError, unknown_name
from mprl.motion.characters.character import Character
from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.characters.mjcf import load_character
from mprl.motion.characters.smpl import SmplCharacter

NAMES = ("humanoid", "smpl")


def find_character(character: str | Path | Character, betas: Any = None, gender: str | None = None) -> Character:
    """ "humanoid", "smpl", an MJCF file of the user's own, or a `Character` as it is.

    Args:
        character: the name, the path, or the character.
        betas, gender: of "smpl", and of it only (`SmplCharacter`).

    Raises:
        UnknownNameError, SettingError: no such character or file, or a shape for one that has none.
    """
    if isinstance(character, Character):
        found = character
    elif character == "smpl":
        return SmplCharacter(betas, gender or "neutral")
    elif character == "humanoid":
        found = HUMANOID
    elif not isinstance(character, str | Path):
        raise SettingError(f"character must be a name, an MJCF file or a Character, found {character!r}")
    elif not Path(character).suffix and not Path(character).exists():
        raise unknown_name("character", str(character), NAMES, f"known: {', '.join(NAMES)}, or the path of an MJCF file")
    else:
        found = load_character(character)
    if betas is not None or gender is not None:
        given = "betas" if betas is not None else "gender"
        raise SettingError(f"{given}: the character '{found.name}' has one shape; bodies of different shape are character='smpl'")
    return found
