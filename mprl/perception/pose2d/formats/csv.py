"""Keypoints as a table of text: one line for each person in each frame, the columns named in the first line.

    # frame_rate: 30
    # image_size: 1280 720
    frame,person,nose_x,nose_y,nose_c,left_hip_x,left_hip_y,left_hip_c
    0,0,612.1,180.4,0.93,,,

| columns | what |
|---|---|
| `NAME_x`, `NAME_y` | where a keypoint is, px; empty where it is not seen |
| `NAME_c` | its confidence; 1 where the column is missing |
| `frame` | its number; lines are frames where it is missing |
| `person` | who it is; one person where it is missing |

Names are those of `layouts.LAYOUTS`; a keypoint of the layout that has no columns is never seen.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from mprl.errors import MotionFormatError, PerceptionError
from mprl.files import write_atomically
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.formats.detections import Detections, Person, by_number, check, person
from mprl.perception.pose2d.keypoints import Keypoints

_SAID = re.compile(r"^#\s*(frame_?rate|image_?size)\s*[:=]\s*(.+?)\s*$", re.I)


def read(path: Path) -> Detections:
    """Read such a table.

    Raises:
        MotionFormatError: names the line, what was expected and what was found.
    """
    check(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise MotionFormatError(f"{path}, byte {error.start}: expected text, found binary data") from None
    rate, size = _said(path, lines)
    rows = [
        (number, [cell.strip() for cell in line.split(",")]) for number, line in enumerate(lines, 1) if line.strip()[:1] not in ("", "#")
    ]
    if not rows:
        raise MotionFormatError(f"{path}: expected a line with the names of the columns")
    columns = rows[0][1]
    if len(set(columns)) != len(columns):
        raise MotionFormatError(f"{path}: two columns have the same name")
    names = [name[:-2] for name in columns if name.endswith("_x")]
    if not names or not all(f"{name}_y" in columns for name in names):
        raise MotionFormatError(f"{path}: expected columns NAME_x and NAME_y for each keypoint, found {', '.join(columns)[:120]}")
    try:
        layout = layouts.of_names(names, str(path))
    except PerceptionError as error:
        raise MotionFormatError(str(error)) from None
    found: dict[int, list[Person]] = {}
    for place, (line, cells) in enumerate(rows[1:]):
        if len(cells) != len(columns):
            raise MotionFormatError(f"{path}, line {line}: expected {len(columns)} cells, found {len(cells)}")
        cell = dict(zip(columns, cells, strict=True))
        frame = _whole(path, line, "frame", cell.get("frame", str(place)))
        keypoints = np.zeros((len(layouts.points(layout)), 3))
        for name in names:
            x, y = cell[f"{name}_x"], cell[f"{name}_y"]
            if x and y:
                values = (x, y, cell.get(f"{name}_c") or "1")
                keypoints[layouts.points(layout).index(name)] = [_number(path, line, value) for value in values]
        who = _whole(path, line, "person", cell.get("person", "0"))
        found.setdefault(frame, []).append(person(path, str(frame), keypoints, len(keypoints), who))
    return Detections(path, layout, *by_number(path, found), frame_rate=rate, image_size=size)


def write(keypoints: Keypoints, path: str | Path, view: int = 0) -> Path:
    """Write one view; reading gives the same keypoints back to a thousandth of a pixel."""
    names = layouts.points(keypoints.layout)
    width, height = keypoints.image_size[view]
    lines = [f"# frame_rate: {keypoints.frame_rate:.12g}", f"# image_size: {width} {height}"]
    lines.append(",".join(["frame", *(f"{name}_{part}" for name in names for part in "xyc")]))
    for frame, (positions, confidence) in enumerate(zip(keypoints.positions[view], keypoints.confidence[view], strict=True)):
        cells = [f"{x:.3f},{y:.3f},{c:.4g}" if c > 0 else ",,0" for (x, y), c in zip(positions, confidence, strict=True)]
        lines.append(",".join([str(frame), *cells]))
    path = Path(path)
    try:
        write_atomically(path, ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise MotionFormatError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _said(path: Path, lines: list[str]) -> tuple[float | None, tuple[int, int] | None]:
    """Frame rate and image size in the comments."""
    rate, size = None, None
    for number, line in enumerate(lines, 1):
        if said := _SAID.match(line):
            values = [_number(path, number, value) for value in re.split(r"[\s,x]+", said[2])]
            if said[1].lower().startswith("frame"):
                rate = values[0]
            elif len(values) == 2 and all(math.isfinite(value) for value in values):
                size = (int(values[0]), int(values[1]))
            else:
                raise MotionFormatError(f"{path}, line {number}: expected '# image_size: WIDTH HEIGHT', found '{line[:60]}'")
    return rate, size


def _number(path: Path, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise MotionFormatError(f"{path}, line {line}: expected a number, found '{text[:40]}'") from None


def _whole(path: Path, line: int, what: str, text: str) -> int:
    value = _number(path, line, text)
    if not (value.is_integer() and abs(value) < 2**53):
        raise MotionFormatError(f"{path}, line {line}: {what} must be a whole number, found '{text[:40]}'")
    return int(value)
