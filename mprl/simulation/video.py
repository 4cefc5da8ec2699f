"""Videos from pictures, and captions on pictures.

    write_video("walk.mp4", (caption(frame, "walk") for frame in frames), fps=30)

Pictures go to ffmpeg (the one that `imageio-ffmpeg` brings) as they come, so that a long video needs no memory.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mprl.errors import MprlError, RenderingError, SettingError

__all__ = ["caption", "write_video"]

_ENCODERS = {
    # yuv420p is what every browser and player shows. The index goes first, so that a page can play it while it loads.
    ".mp4": ["-vcodec", "libx264", "-preset", "fast", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"],
    # A palette for each picture: one for all would hold every picture in memory first.
    ".gif": ["-vf", "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=none", "-loop", "0", "-f", "gif"],
}


def write_video(path: str | os.PathLike[str], frames: Iterable[NDArray[np.uint8]], fps: float) -> Path:
    """Writes a video. The file appears when it is complete; after any error there is none, and an older one is untouched.

    Args:
        path: `.mp4` (H.264, yuv420p) or `.gif`.
        frames: pictures of one size, each (height, width, 3), uint8. Taken one at a time. MP4 repeats the last row or column of
            an odd size, because its colours come in blocks of 2 x 2.
        fps: pictures per second, Hz. A GIF keeps time in 1/100 s.

    Returns:
        The path.

    Raises:
        SettingError: another suffix, a rate that is not positive, no frames, or frames of a wrong or changing shape.
        MprlError: the folder is missing or cannot be written to, or ffmpeg fails (disk full).
        RenderingError: there is no ffmpeg.
    """
    path = Path(path)
    encoder = _ENCODERS.get(path.suffix.lower())
    if encoder is None:
        raise SettingError(f"{path}: a video is written as {' or '.join(_ENCODERS)}, not '{path.suffix}'")
    if not (math.isfinite(fps) and fps > 0):
        raise SettingError(f"{path}: fps must be a positive number, got {fps}")
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise RenderingError("no ffmpeg to write videos with: pip install imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE") from error

    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.open("xb").close()  # says now, and not after the last frame, that the folder cannot be written to
        if path.is_dir():
            raise IsADirectoryError(None, "is a folder")
    except OSError as error:
        partial.unlink(missing_ok=True) if path.is_dir() else None
        where = path.parent if not path.is_dir() else path
        missing = "does not exist; make it first" if not where.exists() else f"cannot be written to ({error.strerror})"
        raise MprlError(f"{path}: {where} {missing}") from error
    try:
        _encode(program, encoder, partial, path, frames, float(fps))
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _encode(program: str, encoder: list[str], partial: Path, path: Path, frames: Iterable[NDArray[np.uint8]], fps: float) -> None:
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise SettingError(f"{path}: no frames to write")
    shape = np.shape(first)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise SettingError(f"{path}: a frame must have shape (height, width, 3), got {shape}")
    height, width = shape[:2]
    pad = ((0, height % 2), (0, width % 2), (0, 0)) if path.suffix.lower() == ".mp4" else ((0, 0),) * 3
    size = f"{width + pad[1][1]}x{height + pad[0][1]}"
    command = [program, "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", repr(fps), "-i", "-", "-an"]
    with tempfile.TemporaryFile() as messages:  # a pipe would block ffmpeg when nobody reads it
        process = subprocess.Popen(
            [*command, *encoder, str(partial.absolute())], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=messages
        )
        assert process.stdin is not None
        try:
            frame: NDArray[np.uint8] | None = first
            count = 0
            with contextlib.suppress(BrokenPipeError):  # ffmpeg gave up; its exit code and message follow below
                while frame is not None:
                    picture = np.asarray(frame)
                    if picture.shape != shape or picture.dtype != np.uint8:
                        found = f"{picture.shape} {picture.dtype}"
                        raise SettingError(f"{path}, frame {count}: expected {shape} uint8 as in the first, found {found}")
                    process.stdin.write(np.ascontiguousarray(np.pad(picture, pad, mode="edge")).data)
                    count += 1
                    frame = next(remaining, None)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            code = process.wait()
        except BaseException:  # the frames' own error, or Ctrl-C: stop ffmpeg, then let it pass
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            raise
        if code:
            messages.seek(0)
            lines = messages.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise MprlError(f"{path}: ffmpeg could not write the video: {lines[-1]}")


@functools.lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The one font that is sure to be there, and it has the signs that Pillow's own lacks.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def caption(frame: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """A copy of the picture with a line of text (or several) in its lower left corner, white on a dark translucent plate.

    Args:
        frame: picture, (height, width, 3), uint8.
        text: for example "walk · 0.8 s · reference (translucent)". Made smaller where it would not fit.

    Returns:
        Picture, (height, width, 3), uint8.
    """
    if not text:
        return frame.copy()
    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image, "RGBA")
    size = max(9, round(frame.shape[0] / 27))
    margin = max(4, size // 2)
    widest = draw.multiline_textbbox((0, 0), text, font=_font(size))[2]
    if widest > frame.shape[1] - 4 * margin:
        size = max(7, int(size * (frame.shape[1] - 4 * margin) / widest))
    _, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=_font(size))
    left, lowest = margin, frame.shape[0] - margin
    draw.rounded_rectangle(
        (left, lowest - (bottom - top) - margin, left + right + margin, lowest), radius=margin // 2, fill=(15, 20, 30, 165)
    )
    draw.multiline_text((left + margin / 2, lowest - margin / 2 - bottom), text, font=_font(size), fill=(255, 255, 255, 255))
    return np.array(image)
