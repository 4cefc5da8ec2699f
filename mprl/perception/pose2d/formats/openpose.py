"""OpenPose's JSON: a folder with a file for each frame, one such file, or one list of what they hold.

    {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, confidence, ...]}]}

Neither frame rate nor image size are in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mprl.errors import MotionFormatError, PerceptionError
from mprl.files import write_atomically
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.formats.detections import Detections, Person, by_number, number_in, person, read_json

_KEYS = ("pose_keypoints_2d", "pose_keypoints")


def is_openpose(content: Any) -> bool:
    """Whether this is a frame, or a list of frames, of OpenPose."""
    first = content[0] if isinstance(content, list) and content else content
    return isinstance(first, dict) and "people" in first


def read_folder(folder: Path) -> Detections:
    """A folder of files, a frame each; the last number in a file's name is the frame's. A number that lacks is a frame without people.

    Raises:
        MotionFormatError: no such files, or a broken one.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise MotionFormatError(f"{folder}: holds no .json files; expected OpenPose's, one for each frame")
    contents: dict[int, Any] = {}
    for place, file in enumerate(files):
        content = read_json(file)
        if not is_openpose(content) or isinstance(content, list):
            raise MotionFormatError(f'{file}: expected a frame of OpenPose with a key "people"')
        number = number_in(file.stem)
        number = place if number is None else number
        if number in contents:
            raise MotionFormatError(f"{file}: a second file of frame {number}; a folder holds one video")
        contents[number] = content
    return _read(folder, contents)


def read(path: Path, content: Any) -> Detections:
    """What a file holds: one frame, or a list of frames.

    Raises:
        MotionFormatError: names file and frame.
    """
    return _read(path, dict(enumerate(content if isinstance(content, list) else [content])))


def _read(path: Path, contents: dict[int, Any]) -> Detections:
    found: dict[int, list[Person]] = {}
    size = None
    for number, content in contents.items():
        people = content.get("people") if isinstance(content, dict) else None
        if not isinstance(people, list) or not all(isinstance(one, dict) for one in people):
            raise MotionFormatError(f'{path}, frame {number}: expected an object with a list "people"')
        found[number] = []
        for one in people:
            key = next((key for key in _KEYS if key in one), None)
            if key is None:
                raise MotionFormatError(f'{path}, frame {number}: a person without "{_KEYS[0]}"')
            rows = one[key]
            if not isinstance(rows, list) or len(rows) % 3:
                shown = len(rows) if isinstance(rows, list) else type(rows).__name__
                raise MotionFormatError(f'{path}, frame {number}: "{key}" must be a list of x, y, confidence, found {shown} numbers')
            if not rows:  # nobody, where only hands or a face were looked for
                continue
            size = size or len(rows) // 3
            found[number].append(person(path, str(number), rows, size, _identity(one.get("person_id"))))
    if size is None:
        raise MotionFormatError(f"{path}: shows nobody in any of {len(found)} frames")
    everything = [one.keypoints for people in found.values() for one in people]
    seen = np.concatenate(everything)
    if seen[:, 2].any() and np.abs(seen[:, :2]).max() <= 1.0:
        raise MotionFormatError(f"{path}: coordinates are between -1 and 1, expected pixels: run OpenPose with --keypoint_scale 0")
    try:
        layout = layouts.of_count(size, str(path))
    except PerceptionError as error:
        raise MotionFormatError(str(error)) from None
    return Detections(path, layout, *by_number(path, found))


def _identity(told: Any) -> int | None:
    """Who it is, where the file knows: [3]; [-1] is nobody in particular."""
    first = told[0] if isinstance(told, list) and len(told) == 1 else told
    return int(first) if isinstance(first, int | float) and 0 <= first < 2**53 else None


def write(found: Detections, path: str | Path) -> Path:
    """Write people as one list of frames, which `read` reads; neither frame rate nor image size are in it.

    Raises:
        MotionFormatError: it cannot be written.
    """
    frames = []
    for people in found.frames:
        rows = [[round(value, 4) for value in one.keypoints.reshape(-1).tolist()] for one in people]
        frames.append({"version": 1.3, "people": [{"person_id": [-1], _KEYS[0]: row} for row in rows]})
    path = Path(path)
    try:
        write_atomically(path, json.dumps(frames).encode())
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be written: {error.strerror}") from None
    return path
