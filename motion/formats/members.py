"""The arrays of a NumPy `.npz`, looked at before they are read: nothing in it is a Python object, nothing is larger than it can be."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mprl.errors import MotionFormatError
from mprl.motion.formats.files import MAX_BYTES, check

TABLE = MAX_BYTES // 8  # numbers in a table of frames, at most
MOST_BYTES = 2**20  # of a member that is no table of frames
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_members(path: Path, most: Mapping[str, int], strict: bool = False) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read those members of a `.npz` that are asked for.

    Args:
        path: the file.
        most: for each key how many values it may hold; `TABLE` for tables of frames.
        strict: refuse the file also where a member that is not asked for is a Python object.

    Returns:
        The arrays that are there, and the names of all members, sorted.

    Raises:
        MotionFormatError: no `.npz`, a broken one, or one whose headers claim what the file cannot hold.
    """
    check(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {one_line(member.filename).removesuffix(".npy"): member for member in archive.infolist()}
            _check_headers(path, archive, members, most, strict)
            content = {key: np.lib.format.read_array(archive.open(members[key]), allow_pickle=False) for key in most if key in members}
    except MotionFormatError:
        raise
    except Exception as error:  # zip, zlib and NumPy each have their own ways to fail on a broken file
        raise MotionFormatError(f"{path}: expected a .npz motion file, cannot be read: {one_line(error)}") from None
    return content, sorted(members)


def _check_headers(
    path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], most: Mapping[str, int], strict: bool
) -> None:
    wanted = {key: member for key, member in members.items() if strict or key in most}
    unpacked = sum(member.file_size for member in wanted.values())
    if unpacked > MAX_BYTES:
        raise MotionFormatError(f"{path}: unpacks to {unpacked // 2**20} MiB, expected at most {MAX_BYTES // 2**20}")
    for key, member in wanted.items():
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version not in _READ_HEADER:
                raise MotionFormatError(f'{path}, key "{key}": expected an array of NumPy\'s format 1 or 2, found {version}')
            shape, _, dtype = _READ_HEADER[version](file)
            left = member.file_size - file.tell()
        if dtype.hasobject or (key in most and dtype.kind not in "biufUS"):
            raise MotionFormatError(f'{path}, key "{key}": expected numbers or text, found {one_line(dtype)[:40]}')
        values, limit = math.prod(shape), most.get(key, MAX_BYTES)
        rows = math.prod(max(1, size) for size in shape)  # a billion rows of nothing would be gone through one by one
        if rows > limit or (key in most and most[key] < TABLE and member.file_size > MOST_BYTES):
            raise MotionFormatError(
                f'{path}, key "{key}": expected at most {limit} values in at most {MOST_BYTES} bytes, found {str(shape)[:60]}'
            )
        if values * max(1, dtype.itemsize) > left:  # texts of no length take room all the same
            raise MotionFormatError(f'{path}, key "{key}": is cut off: {str(shape)[:60]} values of {dtype.itemsize} bytes in {left} bytes')


def one_line(text: object) -> str:
    """At most 160 characters without line breaks."""
    return " ".join(str(text).split())[:160]
