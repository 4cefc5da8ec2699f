"""From a name or a path to a clip."""

from __future__ import annotations

from pathlib import Path

from mprl.errors import MotionFormatError, unknown_name
from mprl.motion.clip import MotionClip
from mprl.motion.formats import deepmimic, npz

READERS = {".txt": deepmimic.read, ".json": deepmimic.read, ".npz": npz.read}
CLIPS = Path(__file__).with_name("clips")


def motions() -> dict[str, Path]:
    """The clips that ship with the package, by name."""
    return {path.stem: path for path in sorted(CLIPS.glob("*.npz"))}


def load(motion: str | Path) -> MotionClip:
    """Load a clip that ships with the package by its name, or any motion file by its path.

    Raises:
        UnknownNameError: no such name.
        MotionFormatError: no such file, an unknown kind of file, or a broken one.
    """
    shipped = motions()
    if isinstance(motion, str) and motion in shipped:
        return npz.read(shipped[motion])
    path = Path(motion)
    looks_like_a_path = isinstance(motion, Path) or path.suffix or len(path.parts) > 1 or _exists(path)
    if not looks_like_a_path:
        raise unknown_name("motion", str(motion)[:200], shipped, "mprl list motions")
    reader = READERS.get(path.suffix.lower())
    if reader is None and _exists(path):
        raise MotionFormatError(f"{path}: unknown kind of motion file; known are {', '.join(READERS)}")
    return (reader or deepmimic.read)(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no name that a file could have
        return False
