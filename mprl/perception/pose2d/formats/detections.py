"""What a file of detections holds before one person is chosen: any number of people in each frame."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mprl.errors import MotionFormatError

Array = NDArray[np.float64]

MAX_BYTES = 512 * 2**20
MAX_FRAMES = 10**6
_NUMBER = re.compile(r"(\d+)\D*$")


class Person(NamedTuple):
    """One person in one frame: x, y and confidence of each keypoint, (K, 3), and who it is, where the file knows."""

    keypoints: Array
    identity: int | None = None


@dataclass(frozen=True)
class Detections:
    """People over time.

    Attributes:
        path: of the file, for messages.
        layout: of the keypoints.
        frames: who is in each frame; frames that the file lacks are empty.
        numbers: what the file calls each frame, for messages.
        frame_rate: Hz, image_size: width and height, px; None where the file does not say.
    """

    path: Path
    layout: str
    frames: list[list[Person]]
    numbers: list[str] = field(default_factory=list)
    frame_rate: float | None = None
    image_size: tuple[int, int] | None = None


def person(path: Path, frame: str, rows: Any, layout_size: int, identity: int | None = None) -> Person:
    """A person from a list of 3 K numbers or K rows.

    Raises:
        MotionFormatError: it is no such list, or a keypoint with a confidence has coordinates that are not finite.
    """
    try:
        flat = np.asarray(rows, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise MotionFormatError(f"{path}, frame {frame}: expected keypoints as numbers x, y, confidence, found something else") from None
    if flat.size != 3 * layout_size:
        raise MotionFormatError(f"{path}, frame {frame}: expected {3 * layout_size} numbers as in the other frames, found {flat.size}")
    keypoints = flat.reshape(-1, 3).copy()
    unseen = keypoints[:, 2] == 0
    keypoints[unseen] = 0.0
    with np.errstate(over="ignore"):  # beyond single precision, which `Keypoints` has, is as good as infinite
        bad = ~np.isfinite(keypoints.astype(np.float32)).all(axis=1)
    if bad.any():
        raise MotionFormatError(
            f"{path}, frame {frame}: keypoint {int(np.argmax(bad))} is {_shown(keypoints[np.argmax(bad)])}; "
            "expected finite numbers, or a confidence of 0 where nothing is seen"
        )
    low, high = keypoints[:, 2].min(), keypoints[:, 2].max()
    if low < 0 or high > 1.5:
        raise MotionFormatError(f"{path}, frame {frame}: expected confidences of 0 to 1, found {low if low < 0 else high:g}")
    keypoints[:, 2] = keypoints[:, 2].clip(0, 1)  # OpenPose's go up to 1.05
    return Person(keypoints, identity)


def read_json(path: Path) -> Any:
    """A JSON file's content.

    Raises:
        MotionFormatError: there is none, or it is broken; names the line.
    """
    check(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise MotionFormatError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise MotionFormatError(f"{path}: expected JSON, found binary data, lists or numbers without end") from None
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be read: {error.strerror}") from None


def check(path: Path) -> None:
    """Raise a one-line MotionFormatError unless this is a file of a size that keypoints can have."""
    if not path.exists():
        raise MotionFormatError(f"{path}: no such file")
    if not path.is_file() or path.stat().st_size == 0 or path.stat().st_size > MAX_BYTES:
        raise MotionFormatError(f"{path}: expected a file of keypoints of at most {MAX_BYTES // 2**20} MiB that is not empty")


def number_in(name: str) -> int | None:
    """The last number in a name: 12 of 'walk_000000000012_keypoints.json'."""
    found = _NUMBER.search(name)
    return int(found[1]) if found and len(found[1]) < 19 else None


def by_number(path: Path, found: dict[int, list[Person]]) -> tuple[list[list[Person]], list[str]]:
    """People by frame number as frames without gaps, and the frames' numbers. Numbers may step by more than 1, evenly.

    Raises:
        MotionFormatError: no frame, or far fewer frames than the numbers say.
    """
    numbers = sorted(found)
    if not numbers:
        raise MotionFormatError(f"{path}: holds no frames")
    step = int(np.gcd.reduce(np.diff(numbers))) if len(numbers) > 1 else 1
    count = (numbers[-1] - numbers[0]) // step + 1
    if count > MAX_FRAMES or count > 100 * len(numbers):
        raise MotionFormatError(f"{path}: frames are numbered from {numbers[0]} to {numbers[-1]}, but only {len(numbers)} are there")
    every = range(numbers[0], numbers[-1] + 1, step)
    return [found.get(number, []) for number in every], [str(number) for number in every]


def _shown(row: Array) -> str:
    return f"({', '.join(f'{x:g}' for x in row)})"
