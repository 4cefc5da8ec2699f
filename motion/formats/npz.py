"""Our own motion file: a NumPy `.npz` without pickle.

Keys: `format` ("mprl-motion"), `version`, `name`, `frame_rate`, `loop`, `root_position`, `rotations`, `joint_names`, `parents`,
`offsets`, `rest_pose`, and where known `contacts`, `betas`, `gender`, `source`, `licence`, `author`.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mprl.errors import MotionFormatError
from mprl.motion.clip import MotionClip, Provenance, Skeleton
from mprl.motion.formats.files import MAX_BYTES, check, write_atomically

VERSION = 1
_REQUIRED = ("name", "frame_rate", "loop", "root_position", "rotations", "joint_names", "parents", "offsets", "rest_pose")
_TEXTS = ("format", "version", "name", "frame_rate", "loop", "rest_pose", "gender", "source", "licence", "author")  # and numbers
_FRAMES = ("root_position", "rotations", "contacts")
_OTHERS = ("joint_names", "parents", "offsets", "betas")
# numbers in a member, whatever they take in the file: a small file must not become large in the memory
_MOST = dict.fromkeys(_TEXTS, 1) | dict.fromkeys(_OTHERS, 4096) | dict.fromkeys(_FRAMES, MAX_BYTES // 8)
_MOST_BYTES = 2**20  # of a member that is no table of frames
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read(path: str | Path) -> MotionClip:
    """Read a clip that `write` made. Arrays that it does not know are left alone.

    Raises:
        MotionFormatError: names the file, the key, and what was expected.
    """
    path = Path(path)
    check(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {_one_line(member.filename).removesuffix(".npy"): member for member in archive.infolist()}
            _check_headers(path, archive, members)
            content = {key: np.lib.format.read_array(archive.open(members[key]), allow_pickle=False) for key in _MOST if key in members}
    except MotionFormatError:
        raise
    except Exception as error:  # zip, zlib and NumPy each have their own ways to fail on a broken file
        raise MotionFormatError(f"{path}: expected a .npz motion file, cannot be read: {_one_line(error)}") from None
    if str(content.get("format", "")) != "mprl-motion":
        raise MotionFormatError(
            f'{path}, key "format": expected "mprl-motion"; this .npz holds {", ".join(sorted(members))[:80] or "nothing"}'
        )
    version = content.get("version", np.array(0))
    if version.size != 1 or version.dtype.kind not in "iu" or int(version.item()) != VERSION:
        raise MotionFormatError(f'{path}, key "version": expected {VERSION}, found {_one_line(version)[:20]}; update mprl')
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


def _check_headers(path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Look at the headers before room is made for what they claim; nothing in the file may be a Python object."""
    unpacked = sum(member.file_size for member in members.values())
    if unpacked > MAX_BYTES:
        raise MotionFormatError(f"{path}: unpacks to {unpacked // 2**20} MiB, expected at most {MAX_BYTES // 2**20}")
    for key, member in members.items():
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version not in _READ_HEADER:
                raise MotionFormatError(f'{path}, key "{key}": expected an array of NumPy\'s format 1 or 2, found {version}')
            shape, _, dtype = _READ_HEADER[version](file)
            left = member.file_size - file.tell()
        if dtype.hasobject or (key in _MOST and dtype.kind not in "biufUS"):
            raise MotionFormatError(f'{path}, key "{key}": expected numbers or text, found {_one_line(dtype)[:40]}')
        values, most = math.prod(shape), _MOST.get(key, MAX_BYTES)
        rows = math.prod(max(1, size) for size in shape)  # a billion rows of nothing would be gone through one by one
        if rows > most or (key not in _FRAMES and member.file_size > _MOST_BYTES and key in _MOST):
            raise MotionFormatError(
                f'{path}, key "{key}": expected at most {most} values in at most {_MOST_BYTES} bytes, found {str(shape)[:60]}'
            )
        if values * max(1, dtype.itemsize) > left:  # texts of no length take room all the same
            raise MotionFormatError(f'{path}, key "{key}": is cut off: {str(shape)[:60]} values of {dtype.itemsize} bytes in {left} bytes')


def _booleans(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biu":
        raise ValueError(f'the key "contacts" must hold true and false, found {values.dtype}')
    return values.astype(bool)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:160]
