"""Opening a motion file: what every reader says when there is none, or when it is something else."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mprl.errors import MotionFormatError
from mprl.motion.clip import MAX_DURATION, MAX_ROTATIONS

MAX_BYTES = 512 * 2**20
# of a text, which takes ten times as much memory while it is parsed; half an hour of frames at 60 Hz
MAX_TEXT_BYTES = 64 * 2**20


def check_length(path: Path, frames: int, frame_rate: float, joints: int) -> None:
    """Raise a one-line MotionFormatError, before the work begins, for a motion that no clip can hold."""
    if frames < 2:
        raise MotionFormatError(f"{path}: a motion needs at least 2 frames, found {frames}")
    if (frames - 1) / frame_rate > MAX_DURATION:
        raise MotionFormatError(f"{path}: expected a motion of at most an hour, found {(frames - 1) / frame_rate:.6g} s")
    if frames * joints > MAX_ROTATIONS:
        raise MotionFormatError(
            f"{path}: expected at most {MAX_ROTATIONS} rotations, found {frames} frames of {joints} joints; split the file"
        )


def check(path: Path, most: int = MAX_BYTES) -> None:
    """Raise a one-line MotionFormatError unless `path` is a file of a size that a motion can have."""
    try:
        there, is_file, size = path.exists(), path.is_file(), path.stat().st_size if path.is_file() else 0
    except (OSError, ValueError) as error:  # too long a name, a folder without permission, a zero byte
        raise MotionFormatError(f"{str(path)[:200]!r}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not there:
        raise MotionFormatError(f"{str(path)[:200]}: no such file")
    if not is_file:
        raise MotionFormatError(f"{path}: expected a file, found a folder")
    if size == 0:
        raise MotionFormatError(f"{path}: the file is empty")
    if size > most:
        raise MotionFormatError(f"{path}: expected at most {most // 2**20} MiB, found {size // 2**20} MiB")


def read_text(path: Path) -> str:
    """The file's text; a binary file (a pickle, say) is refused."""
    check(path, MAX_TEXT_BYTES)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MotionFormatError(f"{path}, byte {error.start}: expected text, found binary data") from None
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be read: {error.strerror}") from None


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> Path:
    """Let `write` fill a file; a kill at any moment leaves the old file or the new one, never half of one.

    Raises:
        MotionFormatError: the folder is missing, read-only or full.
    """
    # not `tempfile`, whose files nobody else may read
    temporary = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:  # gone already if all went well; a Ctrl-C leaves nothing either
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path
