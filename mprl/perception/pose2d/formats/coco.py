"""COCO's JSON: a dataset with annotations, or a plain list of results.

    {"images": [{"id": 1, "width": 640, "height": 480}], "categories": [...], "annotations": [{"image_id": 1, "keypoints": [x, y, v, ...]}]}
    [{"image_id": 1, "category_id": 1, "keypoints": [x, y, confidence, ...], "score": 0.9}]

In annotations v is 0 (not labelled), 1 (hidden) or 2 (seen). A `track_id` or `idx` says who it is. Images are frames: in the order of
`frame_id`, of their names' numbers, or of their ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mprl.errors import MotionFormatError, PerceptionError
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.formats.detections import Detections, Person, by_number, number_in, person

_HIDDEN = 0.5  # confidence of a keypoint that is labelled, but hidden


def is_coco(content: Any) -> bool:
    """Whether this is a dataset or a list of results of COCO."""
    first = content[0] if isinstance(content, list) and content else content
    return isinstance(first, dict) and ("annotations" in first or "image_id" in first)


def read(path: Path, content: Any) -> Detections:
    """The people of a dataset or of results.

    Raises:
        MotionFormatError: names file and image.
    """
    dataset = content if isinstance(content, dict) and "annotations" in content else {"annotations": content}
    annotations = dataset["annotations"]
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        raise MotionFormatError(f'{path}: "annotations" must be a list of objects')
    numbers, image_size = _images(path, dataset.get("images") or [])
    found: dict[int, list[Person]] = {number: [] for number in numbers.values()}
    size = None
    for one in annotations:
        rows = one.get("keypoints")
        if rows is None:
            continue
        if not isinstance(rows, list) or not rows or len(rows) % 3:
            raise MotionFormatError(f'{path}, image {one.get("image_id")}: "keypoints" must be a list of x, y, confidence')
        image = one.get("image_id")
        number = numbers.get(str(image)) if numbers else image if isinstance(image, int) else number_in(Path(str(image)).stem)
        if number is None:
            raise MotionFormatError(f'{path}, image {image!r}: expected an id that is in "images", or a number, found neither')
        size = size or len(rows) // 3
        who = next((one[key] for key in ("track_id", "idx") if isinstance(one.get(key), int)), None)
        seen = person(path, str(number), _confidences(rows, bool(numbers) and "score" not in one), size, who)
        found.setdefault(number, []).append(seen)
    if size is None:
        raise MotionFormatError(f"{path}: holds no keypoints")
    try:
        layout = layouts.of_names(names, str(path)) if (names := _names(dataset, size)) else layouts.of_count(size, str(path))
    except PerceptionError as error:
        raise MotionFormatError(str(error)) from None
    if names and names != layouts.points(layout):
        at = [layouts.points(layout).index(name) for name in names]
        found = {number: [_placed(one, at, len(layouts.points(layout))) for one in people] for number, people in found.items()}
    return Detections(path, layout, *by_number(path, found), image_size=image_size)


def _images(path: Path, images: Any) -> tuple[dict[str, int], tuple[int, int] | None]:
    """The frame number of each image's id, and the images' size."""
    if not isinstance(images, list) or not all(isinstance(image, dict) and "id" in image for image in images):
        raise MotionFormatError(f'{path}: "images" must be a list of objects with an id')
    ways = (lambda i: i.get("frame_id"), lambda i: number_in(Path(str(i.get("file_name", ""))).stem), lambda i: i["id"])
    numbers: list[Any] = []
    for way in ways:
        numbers = [way(image) for image in images]
        if all(isinstance(number, int) for number in numbers) and len(set(numbers)) == len(numbers):
            break
    else:
        numbers = list(range(len(images)))
    sizes = {tuple(side if isinstance(side := image.get(key), int) else None for key in ("width", "height")) for image in images}
    if len(sizes) > 1:
        raise MotionFormatError(f"{path}: images of {len(sizes)} sizes; expected the frames of one video")
    width, height = sizes.pop() if sizes else (None, None)
    known = None if width is None or height is None else (width, height)
    return {str(image["id"]): number for image, number in zip(images, numbers, strict=True)}, known


def _names(dataset: dict[str, Any], size: int) -> tuple[str, ...] | None:
    """What the categories call the keypoints, where they do."""
    categories = dataset.get("categories")
    for category in categories if isinstance(categories, list) else []:
        names = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(names, list) and len(names) == size:
            return tuple(str(name) for name in names)
    return None


def _confidences(rows: list[Any], labels: bool) -> list[Any]:
    """Annotations' labels 0, 1 and 2 as confidences; results have confidences already."""
    if not labels or not {x for x in rows[2::3] if isinstance(x, int | float)} <= {0, 1, 2} or 2 not in rows[2::3]:
        return rows
    as_confidence = {0: 0.0, 1: _HIDDEN, 2: 1.0}
    return [as_confidence[int(x)] if i % 3 == 2 and isinstance(x, int | float) else x for i, x in enumerate(rows)]


def _placed(one: Person, at: list[int], count: int) -> Person:
    keypoints = np.zeros((count, 3))
    keypoints[at] = one.keypoints
    return Person(keypoints, one.identity)
