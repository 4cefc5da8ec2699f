"""From files of detections to one person's keypoints.

keypoints = load("detections.json", frame_rate=30, image_size=(1280, 720))     # OpenPose, COCO, or CSV; several files are several views
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from mprl.errors import MotionFormatError, PerceptionError, SettingError
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.formats import coco, csv, openpose
from mprl.perception.pose2d.formats.detections import Detections, read_json
from mprl.perception.pose2d.keypoints import Keypoints, together
from mprl.perception.pose2d.tracking import tracks

log = logging.getLogger("mprl")


def load(
    *paths: str | Path,
    person: int = 0,
    layout: str | None = None,
    frame_rate: float | None = None,
    image_size: tuple[int, int] | None = None,
) -> Keypoints:
    """One person's keypoints from a file or folder of detections, or from one for each view.

    Args:
        paths: a folder of OpenPose's JSON files, one of them, a JSON list of what they hold, COCO's JSON, or a CSV, for each view.
        person: which one of several, the best seen (most confidence in all frames) first.
        layout: which keypoint is which, where the count of keypoints does not tell.
        frame_rate: Hz; overrules what the file says.
        image_size: width and height, px; overrules what the file says.

    Raises:
        MotionFormatError: a broken file; names file and frame.
        SettingError: what neither the file nor the arguments say, or a person that is not there.
    """
    views = []
    for path in map(Path, paths):
        found = read(path)
        if layout is not None:
            if len(layouts.points(layout)) != len(layouts.points(found.layout)):
                names = len(layouts.points(layout))
                raise SettingError(f"{path}: {layout} has {names} keypoints, found {len(layouts.points(found.layout))}")
            found = replace(found, layout=layout)
        views.append(one_person(found, person, frame_rate, image_size))
    if not views:
        raise SettingError("expected at least one file of keypoints")
    return together(views)


def read(path: str | Path) -> Detections:
    """Everybody in a file or folder of detections.

    Raises:
        MotionFormatError: no such file, an unknown kind, or a broken one.
    """
    path = Path(path)
    if path.is_dir():
        return openpose.read_folder(path)
    if path.suffix.lower() == ".csv":
        return csv.read(path)
    content = read_json(path)
    for kind, is_kind in ((openpose, openpose.is_openpose), (coco, coco.is_coco)):
        if is_kind(content):
            return kind.read(path, content)
    raise MotionFormatError(f'{path}: expected OpenPose\'s JSON with "people", or COCO\'s with "annotations" or "image_id", found neither')


def one_person(found: Detections, person: int = 0, frame_rate: float | None = None, image_size: tuple[int, int] | None = None) -> Keypoints:
    """One of the people in a file, followed over time. Frames without that person have confidence 0, and it is said.

    Raises:
        SettingError, MotionFormatError: as of `load`.
    """
    rate, size = found.frame_rate if frame_rate is None else frame_rate, found.image_size if image_size is None else image_size
    if rate is None:
        raise SettingError(f"{found.path}: does not say its frame rate; give it: --frame-rate 30")
    if size is None:
        raise SettingError(f"{found.path}: does not say how large the pictures are; give it: --image-size WIDTH HEIGHT")
    people = tracks(found.frames)
    if not people:
        raise MotionFormatError(f"{found.path}: all confidences are 0 in all {len(found.frames)} frames: there is nothing to see")
    if not 0 <= person < len(people):
        raise SettingError(f"{found.path}: no person {person}; it shows {len(people)}, counted from 0, the best seen first")
    track = people[person]
    keypoints = np.zeros((1, len(found.frames), len(layouts.points(found.layout)), 3), dtype=np.float32)
    for frame, rows in track.items():
        keypoints[0, frame] = rows
    empty = keypoints[0, ..., 2].max(axis=-1) == 0
    if empty.any():
        first = int(np.argmax(empty))
        number = found.numbers[first] if found.numbers else str(first)
        log.warning(
            "%s: %d of %d frames do not show the person (the first is frame %s); they count as not seen",
            found.path, empty.sum(), len(empty), number,
        )  # fmt: skip
    if len(people) > 1:
        log.info("%s: %d people; taken is number %d, in %d frames", found.path, len(people), person, len(track))
    try:
        one = Keypoints(keypoints[..., :2], keypoints[..., 2], found.layout, (size,), rate, found.path.name)
    except PerceptionError as error:
        raise MotionFormatError(str(error)) from None
    for doubt in one.doubts():
        log.warning("%s: %s", found.path, doubt)
    return one
