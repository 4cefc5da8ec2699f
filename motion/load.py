"""From a name or a path to a clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mprl.errors import MotionFormatError, SettingError, unknown_name
from mprl.motion.characters.character import Character
from mprl.motion.clip import MotionClip
from mprl.motion.formats import amass, bvh, csv, deepmimic, npz, pickled_motions
from mprl.motion.formats.members import read_members

if TYPE_CHECKING:
    from mprl.motion.body.smpl import SmplBody


def _read_npz(path: Path, **options: Any) -> MotionClip:
    """Our own file or one of AMASS, by its keys."""
    _, names = read_members(path, {})
    if amass.is_amass(names):
        return amass.read(path, **options)
    return npz.read(path)


READERS: dict[str, Any] = {
    ".txt": deepmimic.read, ".json": deepmimic.read, ".npz": _read_npz, ".bvh": bvh.read, ".csv": csv.read,
    ".pkl": pickled_motions.read, ".pickle": pickled_motions.read, ".joblib": pickled_motions.read,
}  # fmt: skip
# what may be said about a file of a kind, beyond its path
OPTIONS: dict[Any, tuple[str, ...]] = {
    deepmimic.read: (), _read_npz: ("up", "body"), bvh.read: ("scale", "up"), csv.read: ("character", "body"),
    pickled_motions.read: ("clip", "character", "body"),
}  # fmt: skip
CLIPS = Path(__file__).with_name("clips")


def motions() -> dict[str, Path]:
    """The clips that ship with the package, by name."""
    return {path.stem: path for path in sorted(CLIPS.glob("*.npz"))}


def load(
    motion: str | Path,
    *,
    clip: str | None = None,
    scale: float | str | None = None,
    up: str | None = None,
    character: Character | str | Path | None = None,
    body: SmplBody | None = None,
) -> MotionClip:
    """Load a clip that ships with the package by its name, or any motion file by its path.

    Args:
        motion: a name, or a file: our own `.npz`, AMASS `.npz`, BVH, DeepMimic `.txt`, MimicKit, GMR or PHC `.pkl`, or `.csv`.
        clip: which motion of a file that holds several.
        scale: metres in the file's unit, or "cm", "inch", ...; BVH only, where it is otherwise found.
        up: the file's axis that points up, "y", "z", ...; BVH, where it is otherwise found, and SMPL's parameters (z).
        character: whose joint angles a pickle or a `.csv` holds: a character, the path of its MJCF, or "humanoid".
        body: whose bones a motion of SMPL's joints has; by default the free body.

    Raises:
        UnknownNameError: no such name.
        MotionFormatError: no such file, an unknown kind of file, or a broken one.
        SettingError: an option that this kind of file does not have.
    """
    shipped = motions()
    path = shipped[motion] if isinstance(motion, str) and motion in shipped else Path(motion)
    looks_like_a_path = isinstance(motion, Path) or path.suffix or len(path.parts) > 1 or _exists(path)
    if not looks_like_a_path:
        raise unknown_name("motion", str(motion)[:200], shipped, "mprl list motions")
    reader = READERS.get(path.suffix.lower())
    if reader is None and _exists(path):
        if path.is_dir():
            raise MotionFormatError(f"{path}: expected a motion file, found a folder")
        raise MotionFormatError(f"{path}: unknown kind of motion file; known are {', '.join(READERS)}")
    reader = reader or deepmimic.read
    given = {"clip": clip, "scale": scale, "up": up, "character": character, "body": body}
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in OPTIONS[reader] and name != "body":
            takes = ", ".join(suffix for suffix, other in READERS.items() if name in OPTIONS[other])
            raise SettingError(f"{path}: '{name}' can be said of {takes} files only")
    return reader(path, **{name: value for name, value in options.items() if name in OPTIONS[reader]})


def load_all(motion: str | Path, *, failed: list[str] | None = None, **options: Any) -> Iterator[MotionClip]:
    """Every motion of a file, of which most kinds hold one; arguments and errors as of `load`.

    Args:
        motion: a name, or a file.
        failed: what is wrong with one of several motions is put here, and the next one read; without it, it is an error.
    """
    if READERS.get(Path(motion).suffix.lower()) is not pickled_motions.read or options.get("clip") is not None:
        yield load(motion, **options)
        return
    yield from pickled_motions.read_all(motion, failed=failed, **{name: options.get(name) for name in ("character", "body")})


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no name that a file could have
        return False
