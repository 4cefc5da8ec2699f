"""The body and its movement: clips, file formats, characters.

from mprl.motion import MotionClip, MotionLibrary, load
"""

from mprl.motion.body.smpl import SmplBody
from mprl.motion.characters.find import find_character
from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.characters.mjcf import load_character
from mprl.motion.characters.smpl import SmplCharacter
from mprl.motion.clip import MotionClip, Provenance, Skeleton
from mprl.motion.folder_library import FolderLibrary
from mprl.motion.library import MotionLibrary, Reference
from mprl.motion.load import load, load_all, motions

__all__ = [
    "HUMANOID",
    "FolderLibrary",
    "MotionClip",
    "MotionLibrary",
    "Provenance",
    "Reference",
    "Skeleton",
    "SmplBody",
    "SmplCharacter",
    "find_character",
    "load",
    "load_all",
    "load_character",
    "motions",
]
