"""Our own motion file: a NumPy `.npz` without pickle.

Keys: `format` ("mprl-motion"), `version`, `name`, `frame_rate`, `loop`, `root_position`, `rotations`, `joint_names`, `parents`,
`offsets`, `rest_pose`, and where known `contacts`, `betas`, `gender`, `source`, `licence`, `author`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mprl.errors import MotionFormatError
from mprl.motion.clip import MotionClip, Provenance, Skeleton
from mprl.motion.formats.files import write_atomically
from mprl.motion.formats.members import TABLE, one_line, read_members

VERSION = 1
_REQUIRED = ("name", "frame_rate", "loop", "root_position", "rotations", "joint_names", "parents", "offsets", "rest_pose")
_TEXTS = ("format", "version", "name", "frame_rate", "loop", "rest_pose", "gender", "source", "licence", "author")  # and numbers
_FRAMES = ("root_position", "rotations", "contacts")
_OTHERS = ("joint_names", "parents", "offsets", "betas")
# numbers in a member, whatever they take in the file: a small file must not become large in the memory
_MOST = dict.fromkeys(_TEXTS, 1) | dict.fromkeys(_OTHERS, 4096) | dict.fromkeys(_FRAMES, TABLE)


def read(path: str | Path) -> MotionClip:
    """Read a clip that `write` made. Arrays that it does not know are left alone.

    Raises:
        MotionFormatError: names the file, the key, and what was expected.
    """
    path = Path(path)
    content, names = read_members(path, _MOST, strict=True)
    if str(content.get("format", "")) != "mprl-motion":
        raise MotionFormatError(f'{path}, key "format": expected "mprl-motion"; this .npz holds {", ".join(names)[:80] or "nothing"}')
    version = content.get("version", np.array(0))
    if version.size != 1 or version.dtype.kind not in "iu" or int(version.item()) != VERSION:
        raise MotionFormatError(f'{path}, key "version": expected {VERSION}, found {one_line(version)[:20]}; update mprl')
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
        raise MotionFormatError(f"{path}: {one_line(error)}") from None


def write(clip: MotionClip, path: str | Path) -> Path:
    """Write a clip; a kill at any moment leaves the old file or the new one, never half of one.

    Raises:
        MotionFormatError: the folder is missing, read-only or full.
    """
    path = Path(path)
    optional: dict[str, Any] = {key: value for key, value in (("contacts", clip.contacts), ("betas", clip.betas)) if value is not None}
    return write_atomically(
        path,
        lambda file: np.savez_compressed(
            file,
            format="mprl-motion", version=VERSION, name=clip.name, frame_rate=clip.frame_rate, loop=clip.loop,
            root_position=clip.root_position, rotations=clip.rotations,
            joint_names=np.array(clip.skeleton.names), parents=np.array(clip.skeleton.parents), offsets=clip.skeleton.offsets,
            rest_pose=clip.skeleton.rest_pose, gender=clip.gender,
            source=clip.provenance.source, licence=clip.provenance.licence, author=clip.provenance.author,
            **optional,
        ),
    )  # fmt: skip


def _booleans(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biu":
        raise ValueError(f'the key "contacts" must hold true and false, found {values.dtype}')
    return values.astype(bool)
