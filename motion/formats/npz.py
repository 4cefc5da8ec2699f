"""Our own motion file: a NumPy `.npz` without pickle.

Keys: `format` ("mprl-motion"), `version`, `name`, `frame_rate`, `loop`, `root_position`, `rotations`, `joint_names`, `parents`,
`offsets`, `rest_pose`, and where known `contacts`, `betas`, `gender`, `source`, `licence`, `author`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mprl.errors import MotionFormatError
from mprl.motion.clip import MotionClip, Provenance, Skeleton
from mprl.motion.formats.files import MAX_BYTES, check

VERSION = 1
_REQUIRED = ("name", "frame_rate", "loop", "root_position", "rotations", "joint_names", "parents", "offsets", "rest_pose")


def read(path: str | Path) -> MotionClip:
    """Read a clip that `write` made.

    Raises:
        MotionFormatError: names the file, the key, and what was expected.
    """
    path = Path(path)
    check(path)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_BYTES:
            raise MotionFormatError(f"{path}: unpacks to {unpacked // 2**20} MiB, expected at most {MAX_BYTES // 2**20}")
        with np.load(path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
        if not all(isinstance(value, np.ndarray) for value in content.values()):  # a zip may hold any file
            raise MotionFormatError(f"{path}: expected a .npz motion file, found a zip of other files")
    except MotionFormatError:
        raise
    except Exception as error:  # zip, zlib and NumPy each have their own ways to fail on a broken file
        raise MotionFormatError(f"{path}: expected a .npz motion file, cannot be read: {_one_line(error)}") from None
    if str(content.get("format", "")) != "mprl-motion":
        raise MotionFormatError(
            f'{path}, key "format": expected "mprl-motion"; this .npz holds {", ".join(sorted(content))[:80] or "nothing"}'
        )
    version = content.get("version", np.array(0))
    if version.size != 1 or version.dtype.kind not in "iu" or int(version.item()) != VERSION:
        raise MotionFormatError(f'{path}, key "version": expected {VERSION}, found {str(version)[:20]}; update mprl')
    for key in _REQUIRED:
        if key not in content:
            raise MotionFormatError(f'{path}: the key "{key}" is missing')
    try:
        skeleton = Skeleton(
            tuple(str(name) for name in content["joint_names"]),
            tuple(int(parent) for parent in content["parents"]),
            content["offsets"],
            str(content["rest_pose"]),
        )
        return MotionClip(
            name=str(content["name"]),
            skeleton=skeleton,
            frame_rate=float(content["frame_rate"]),
            root_position=content["root_position"],
            rotations=content["rotations"],
            loop=str(content["loop"]),  # type: ignore[arg-type]
            contacts=_booleans(content["contacts"]) if "contacts" in content else None,
            betas=content.get("betas"),
            gender=str(content.get("gender", "neutral")),
            provenance=Provenance(*(str(content.get(key, "")) for key in ("source", "licence", "author"))),
        )
    except (MotionFormatError, ValueError, TypeError, OverflowError) as error:
        raise MotionFormatError(f"{path}: {_one_line(error)}") from None


def write(clip: MotionClip, path: str | Path) -> Path:
    """Write a clip; a kill at any moment leaves the old file or the new one, never half of one.

    Raises:
        MotionFormatError: the folder is missing, read-only or full.
    """
    path = Path(path)
    optional: dict[str, Any] = {key: value for key, value in (("contacts", clip.contacts), ("betas", clip.betas)) if value is not None}
    # not `tempfile`, whose files nobody else may read
    temporary = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with temporary.open("xb") as file:
            np.savez_compressed(
                file,
                format="mprl-motion", version=VERSION, name=clip.name, frame_rate=clip.frame_rate, loop=clip.loop,
                root_position=clip.root_position, rotations=clip.rotations,
                joint_names=np.array(clip.skeleton.names), parents=np.array(clip.skeleton.parents), offsets=clip.skeleton.offsets,
                rest_pose=clip.skeleton.rest_pose, gender=clip.gender,
                source=clip.provenance.source, licence=clip.provenance.licence, author=clip.provenance.author,
                **optional,
            )  # fmt: skip
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:  # gone already if all went well; a Ctrl-C leaves nothing either
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def _booleans(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biu":
        raise ValueError(f'the key "contacts" must hold true and false, found {values.dtype}')
    return values.astype(bool)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
