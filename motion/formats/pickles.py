"""Pickles read without running them: arrays and plain containers come out, everything else is refused by its name.

A pickle is a program for a small stack machine. Python's own runs it and calls whatever the program names. The machine here knows
the same instructions (`pickle_machine.py`), but a name stays a name: it is looked up in `pickle_names.py`, which knows NumPy's arrays,
SciPy's compressed sparse matrices, torch's tensors and chumpy's arrays (SMPL's official files); `pickled_arrays.py` builds them from
checked plain values.
joblib's files, which are pickles with the arrays' bytes in between, compressed or not, are read the same way.

    pickles.load("SMPL_NEUTRAL.pkl")["v_template"]   # (6890, 3)
"""

from __future__ import annotations

import bz2
import lzma
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mprl.errors import MotionFormatError
from mprl.motion.formats.files import check, write_atomically
from mprl.motion.formats.pickle_machine import Machine
from mprl.motion.formats.stand_ins import Refused, Word, value_of

MAX_BYTES = 2**30  # of a file, and of what a compressed one unpacks to; SMPL-X takes half of it
MAX_DEPTH = 200
_PLAIN = (float, int, str, bytes, bool, type(None))
# values when each reference is followed (a list may hold another one a thousand times, which holds ...): beyond a few per byte, so many
MAX_LAID_OUT = 2**20


def load(source: str | Path | bytes, limit: int = MAX_BYTES) -> Any:
    """What a pickle holds: numbers, texts, lists, tuples, dictionaries, sets, NumPy arrays, SciPy csc and csr matrices.

    torch tensors and chumpy arrays come as NumPy arrays, an `OrderedDict` as a dict, Python 2's byte strings as Latin-1 text.

    Args:
        source: a path, or the bytes themselves.
        limit: most bytes of the file, and of what it unpacks to.

    Raises:
        MotionFormatError: no such file, not a pickle, damaged, too large, or holds anything but data: says what, by its name.
    """
    if isinstance(source, bytes):
        name, data = "pickle", source
    else:
        name = str(source)
        check(Path(source), limit)
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise MotionFormatError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        unpacked = _unpacked(data, limit)
        return _resolved(Machine(unpacked).run(), {}, 0, 4 * len(unpacked) + MAX_LAID_OUT)[0]
    except Refused as error:
        raise MotionFormatError(f"{name}: {error}") from None
    except MemoryError:
        raise MotionFormatError(f"{name}: needs more memory than there is; refused") from None


def save(content: Any, path: str | Path) -> Path:
    """Write arrays and plain containers as a pickle that Python 2 and 3 read (protocol 2), atomically."""
    return write_atomically(Path(path), lambda file: pickle.dump(content, file, protocol=2))


def _unpacked(data: bytes, limit: int) -> bytes:
    """The pickle inside joblib's compressed files; others as they are."""
    opened: Any
    if data[:2] == b"\x1f\x8b":
        opened = zlib.decompressobj(31)
    elif data[:1] == b"\x78" and int.from_bytes(data[:2]) % 31 == 0:  # RFC 1950; a text may begin with an x
        opened = zlib.decompressobj()
    elif data[:3] == b"BZh":
        opened = bz2.BZ2Decompressor()
    elif data[:3] == b"\x5d\x00\x00" or data[:6] == b"\xfd7zXZ\x00":
        opened = lzma.LZMADecompressor(memlimit=2**28)
    elif data[:4] == b"\x04\x22\x4d\x18":
        raise Refused("is compressed by lz4, which cannot be read; save it with joblib.dump(..., compress=3)")
    elif data[:2] == b"PK":
        raise Refused("is a zip archive (a .npz, or torch.save's), expected a pickle")
    else:
        return data
    try:
        unpacked = opened.decompress(data, limit + 1)
    except (zlib.error, OSError, lzma.LZMAError, ValueError, EOFError) as error:
        raise Refused(f"is compressed, and damaged: {' '.join(str(error).split())[:80]}") from None
    if len(unpacked) > limit:
        raise Refused(f"unpacks to more than {limit // 2**20} MiB; refused")
    if not opened.eof:
        raise Refused("is compressed, and cut off")
    return bytes(unpacked)


def _resolved(item: Any, seen: dict[int, tuple[Any, Any, int]], depth: int, most: int) -> tuple[Any, int]:
    """The value with all stand-ins replaced by what they stand for, and of how many values it is when all is laid out, at most `most`.

    Each object is visited once, however often it is referred to. `seen` holds object, value and count by the object's id.
    """
    if depth > MAX_DEPTH:
        raise Refused(f"is nested more than {MAX_DEPTH} deep; refused")
    if isinstance(item, Word):
        return str(item), 1
    item = value_of(item)
    if not isinstance(item, list | dict | tuple | np.ndarray) or (isinstance(item, np.ndarray) and item.dtype.kind != "O"):
        return item, 1
    if id(item) in seen:
        _, value, count = seen[id(item)]
        if count == 0:
            raise Refused(f"holds a {type(item).__name__} that contains itself; refused")
        return value, count
    seen[id(item)] = item, None, 0
    inside = item.values() if isinstance(item, dict) else item.flat if isinstance(item, np.ndarray) else item
    values, count = [], 1
    for part in inside:
        value, size = (part, 1) if type(part) in _PLAIN else _resolved(part, seen, depth + 1, most)
        values.append(value)
        count += size
    if count > most:
        raise Refused("unfolds to far more than the file holds; refused")
    result: Any = values
    if isinstance(item, tuple):
        result = tuple(values)
    elif isinstance(item, dict):
        result = dict(zip(item, values, strict=True))
    elif isinstance(item, np.ndarray):
        result = np.empty(item.size, dtype=object)
        for index, value in enumerate(values):
            result[index] = value
        result = result.reshape(item.shape)
    seen[id(item)] = item, result, count
    return result, count
