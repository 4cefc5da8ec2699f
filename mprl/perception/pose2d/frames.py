"""Pictures one after the other: of a video, or of a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mprl.errors import PerceptionError
from mprl.perception.pose2d.formats.detections import number_in

Picture = NDArray[np.uint8]

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".gif")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True)
class Frames:
    """Pictures of one size.

    Attributes:
        read: gives them, (H, W, 3) uint8, from the first one on.
        count: how many, where it is known.
        frame_rate: Hz, where it is known.
        size: width and height, px.
    """

    read: Callable[[], Iterator[Picture]]
    count: int | None
    frame_rate: float | None
    size: tuple[int, int]


def open_frames(path: str | Path) -> Frames:
    """A video, or a folder of pictures in the order of the numbers in their names.

    Raises:
        PerceptionError: no such file, neither a video nor a folder of pictures, or pictures of several sizes.
    """
    path = Path(path)
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise PerceptionError(f"{path}: no such file or folder")
    if path.suffix.lower() not in VIDEOS:
        raise PerceptionError(f"{path}: expected a video ({', '.join(VIDEOS)}) or a folder of pictures, found '{path.suffix}'")
    try:
        count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
        about = next(imageio_ffmpeg.read_frames(str(path)))
    except (OSError, RuntimeError, StopIteration):
        raise PerceptionError(f"{path}: cannot be read as a video; is it cut off?") from None
    width, height = about["size"]
    rate = float(about.get("fps") or 0) or (count / seconds if seconds else None)

    def read() -> Iterator[Picture]:
        frames = imageio_ffmpeg.read_frames(str(path))
        next(frames)
        for frame in frames:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)

    return Frames(read, int(count) or None, rate, (width, height))


def _of_folder(folder: Path) -> Frames:
    files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURES]
    if not files:
        raise PerceptionError(f"{folder}: holds no pictures ({', '.join(PICTURES)})")
    files.sort(key=lambda file: (number_in(file.stem) or 0, file.name))
    height, width = _picture(files[0]).shape[:2]

    def read() -> Iterator[Picture]:
        for file in files:
            picture = _picture(file)
            if picture.shape != (height, width, 3):
                found = f"{picture.shape[1]} x {picture.shape[0]}"
                raise PerceptionError(f"{file}: expected a picture of {width} x {height} as the first one, found {found}")
            yield picture

    return Frames(read, len(files), None, (width, height))


def _picture(file: Path) -> Picture:
    try:
        with Image.open(file) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))  # phones save what is held upright on its side
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        raise PerceptionError(f"{file}: cannot be read as a picture") from None
