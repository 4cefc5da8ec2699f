"""The text of a BVH file: a tree of joints with channels, and a table of numbers.

    HIERARCHY
    ROOT Hips
    {
        OFFSET 0 0 0
        CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
        JOINT Spine
        {
            ...
            End Site
            {
                OFFSET 0 10 0
            }
        }
    }
    MOTION
    Frames: 2
    Frame Time: 0.0333333
    0 0 0 ...

Channels may be any of the six, in any order, at any joint; rotations are in degrees and apply in the order in which they stand.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mprl.errors import MotionFormatError
from mprl.motion.formats.files import check_length

CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in "XYZ")
MAX_JOINTS = 1000
MAX_DEPTH = 200
_CHANNEL = {name.lower(): name for name in CHANNELS}
_KEYWORDS = ("{", "}", "OFFSET", "CHANNELS", "JOINT", "END", "ROOT", "MOTION")
_WORD = re.compile(r"[{}]|[^\s{}]+")


@dataclass
class Joint:
    """A joint as it stands in the file.

    Attributes:
        name: its name; an end site's is its parent's with "_end".
        parent: index of its parent, -1 for the root.
        line: where it begins, counted from 1.
        offset: from its parent at rest, in the file's units, (3,).
        channels: their names, in order; none at an end site.
        column: of its first channel in the table.
    """

    name: str
    parent: int
    line: int
    is_end: bool = False
    offset: tuple[float, ...] | None = None
    channels: tuple[str, ...] | None = None
    column: int = 0
    children: int = field(default=0, repr=False)


@dataclass(frozen=True)
class Text:
    """A BVH file: joints, parents before children; frames per second, Hz; the table (frames, channels)."""

    joints: list[Joint]
    frame_rate: float
    table: np.ndarray


def parse(path: Path, text: str) -> Text:
    """Parse a BVH file.

    Raises:
        MotionFormatError: names the line, what was expected and what was found.
    """
    lines = text.lstrip("\ufeff").splitlines()
    joints, at = _Hierarchy(path, lines).read()
    return _motion(path, lines, at, joints)


class _Hierarchy:
    def __init__(self, path: Path, lines: list[str]) -> None:
        self.path, self.lines = path, lines
        self.joints: list[Joint] = []
        self.seen: dict[str, Joint] = {}

    def fail(self, line: int, text: str) -> MotionFormatError:
        return MotionFormatError(f"{self.path}, line {line}: {text}")

    def read(self) -> tuple[list[Joint], int]:
        """The joints, and the index of the line after MOTION."""
        open_joints: list[int] = []
        pending: int | None = None  # a joint whose "{" is still to come
        columns, started, closed = 0, False, False
        for number, line in enumerate(self.lines, start=1):
            words = _WORD.findall(line)
            if not words:
                continue
            if not started:
                if words[0].upper() != "HIERARCHY":
                    raise self.fail(number, f"expected HIERARCHY, with which a BVH file begins, found '{_cut(line)}'")
                started = True
                words = words[1:]
            while words:
                word = words[0].upper()
                if pending is not None and word != "{":
                    raise self.fail(number, f"expected '{{' after joint '{_cut(self.joints[pending].name)}', found '{_cut(words[0])}'")
                if word == "{":
                    if pending is None:
                        raise self.fail(number, "found '{' without a joint before it")
                    open_joints.append(pending)
                    pending, words = None, words[1:]
                elif word == "}":
                    if not open_joints:
                        raise self.fail(number, "found '}' without a '{' before it")
                    self.check_whole(self.joints[open_joints.pop()], number)
                    closed, words = not open_joints, words[1:]
                elif word == "MOTION" and not open_joints:
                    if not self.joints:
                        raise self.fail(number, "expected a ROOT before MOTION")
                    return self.joints, number
                elif word in ("ROOT", "JOINT", "END"):
                    if word == "ROOT" and self.joints:
                        raise self.fail(number, "found a second ROOT; split the file into one for each skeleton")
                    if (word == "ROOT") != (not open_joints) or closed:
                        raise self.fail(number, f"found {word} {'inside' if open_joints else 'outside'} of a joint")
                    end = words.index("{") if "{" in words else len(words)
                    name = " ".join(words[1:end])
                    pending, words = self.add(word, name, open_joints, number), words[end:]
                elif word in ("OFFSET", "CHANNELS") and open_joints:
                    joint = self.joints[open_joints[-1]]
                    end = next((i for i, other in enumerate(words) if i and other.upper() in _KEYWORDS), len(words))
                    columns = self.fill(joint, word, words[1:end], number, columns)
                    words = words[end:]
                else:
                    known = "OFFSET, CHANNELS, JOINT, End Site or '}'" if open_joints else "ROOT or MOTION"
                    raise self.fail(number, f"expected {known}, found '{_cut(words[0])}'")
        if not started:
            raise MotionFormatError(f"{self.path}: expected HIERARCHY, with which a BVH file begins, found nothing")
        where = f"joint '{_cut(self.joints[open_joints[-1]].name)}' is not closed" if open_joints else "there is no MOTION"
        raise MotionFormatError(f"{self.path}, line {len(self.lines)}: the file ends, and {where}; is the file cut off?")

    def add(self, kind: str, name: str, open_joints: list[int], line: int) -> int:
        parent = open_joints[-1] if open_joints else -1
        if parent >= 0 and self.joints[parent].is_end:
            raise self.fail(line, f"an End Site has no {kind}")
        if len(self.joints) >= MAX_JOINTS or len(open_joints) >= MAX_DEPTH:
            raise self.fail(line, f"expected at most {MAX_JOINTS} joints, {MAX_DEPTH} deep")
        is_end = kind == "END"
        if is_end:
            name = f"{self.joints[parent].name}_end"
            name += str(self.joints[parent].children) if name in self.seen else ""
        if not name:
            raise self.fail(line, f"{kind} has no name")
        if name in self.seen:
            above = [self.joints[index].name for index in open_joints]
            why = "is its own ancestor, a cycle" if name in above else f"is there twice, first on line {self.seen[name].line}"
            raise self.fail(line, f"joint '{_cut(name)}' {why}")
        joint = Joint(name, parent, line, is_end, channels=() if is_end else None)
        if parent >= 0:
            self.joints[parent].children += 1
        self.joints.append(joint)
        self.seen[name] = joint
        return len(self.joints) - 1

    def fill(self, joint: Joint, word: str, rest: list[str], line: int, columns: int) -> int:
        if word == "OFFSET":
            if joint.offset is not None:
                raise self.fail(line, f"joint '{_cut(joint.name)}' has a second OFFSET")
            numbers = [_number(part) for part in rest]
            if len(numbers) != 3 or any(number is None for number in numbers):
                raise self.fail(line, f"OFFSET: expected 3 numbers below 1e6, found '{_cut(' '.join(rest))}'")
            joint.offset = tuple(number for number in numbers if number is not None)
            return columns
        if joint.is_end or joint.channels is not None:
            raise self.fail(line, f"joint '{_cut(joint.name)}' has {'no' if joint.is_end else 'a second'} CHANNELS")
        count, names = rest[0] if rest else "", [_CHANNEL.get(part.lower()) for part in rest[1:]]
        for part, name in zip(rest[1:], names, strict=True):
            if name is None:
                raise self.fail(line, f"expected a channel as Xposition or Zrotation, found '{_cut(part)}'")
        if count != str(len(names)) or len(set(names)) != len(names):
            raise self.fail(line, f"CHANNELS: expected {_cut(count) or 'a number'} different channels, found {len(names)}")
        joint.channels, joint.column = tuple(name for name in names if name), columns
        return columns + len(names)

    def check_whole(self, joint: Joint, line: int) -> None:
        if joint.offset is None:
            raise self.fail(line, f"joint '{_cut(joint.name)}' has no OFFSET")
        if joint.channels is None:
            raise self.fail(line, f"joint '{_cut(joint.name)}' has no CHANNELS")


def _motion(path: Path, lines: list[str], at: int, joints: list[Joint]) -> Text:
    """The part after MOTION; `at` is the index of the line after it."""
    said: dict[str, str] = {}
    for name in ("Frames", "Frame Time"):
        while at < len(lines) and not lines[at].strip():
            at += 1
        head, _, value = (lines[at] if at < len(lines) else "").partition(":")
        if " ".join(head.split()).lower() != name.lower():
            found = f"found '{_cut(lines[at])}'" if at < len(lines) else "the file ends; is it cut off?"
            raise MotionFormatError(f"{path}, line {at + 1}: expected '{name}:', {found}")
        said[name] = value.strip()
        at += 1
    columns = sum(len(joint.channels or ()) for joint in joints)
    frames = int(said["Frames"]) if said["Frames"].isascii() and said["Frames"].isdigit() and len(said["Frames"]) < 10 else -1
    seconds = _number(said["Frame Time"])
    if frames < 0:
        raise MotionFormatError(f"{path}, line {at - 1}: expected a number of frames, found '{_cut(said['Frames'])}'")
    if seconds is None or not 1e-4 <= seconds <= 10:
        raise MotionFormatError(f"{path}, line {at}: expected a frame time of .0001 to 10 s, found '{_cut(said['Frame Time'])}'")
    if columns == 0:
        raise MotionFormatError(f"{path}: no joint has a channel, nothing moves")
    rows = [index for index in range(at, len(lines)) if lines[index].strip()]
    if len(rows) != frames:
        cut = "; is the file cut off?" if len(rows) < frames else ""
        raise MotionFormatError(f"{path}: expected {frames} frames, found {len(rows)} lines of numbers{cut}")
    check_length(path, frames, 1 / seconds, len(joints))
    return Text(joints, _rate(said["Frame Time"], seconds), _table(path, lines, rows, columns))


def _rate(word: str, seconds: float) -> float:
    """Frames per second; a whole number where the file's digits are those of its inverse: .033333 s is 30 Hz."""
    whole, digits = max(1, round(1 / seconds)), len(word.partition(".")[2])
    return float(whole) if digits >= 5 and "e" not in word.lower() and round(1 / whole, digits) == seconds else 1 / seconds


def _table(path: Path, lines: list[str], rows: list[int], columns: int) -> np.ndarray:
    try:
        table = np.loadtxt(io.StringIO("\n".join(lines[row] for row in rows)), comments=None, ndmin=2)
    except ValueError:
        table = np.zeros((0, 0))
    with np.errstate(invalid="ignore"):
        if table.shape == (len(rows), columns) and (np.abs(table) < 1e6).all():
            return table
    for frame, row in enumerate(rows):  # which one is it?
        words = lines[row].split()
        if len(words) != columns:
            raise MotionFormatError(f"{path}, line {row + 1} (frame {frame}): expected {columns} numbers, found {len(words)}")
        for column, word in enumerate(words):
            if _number(word) is None:
                raise MotionFormatError(
                    f"{path}, line {row + 1} (frame {frame}), column {column}: expected a finite number below 1e6, found '{_cut(word)}'"
                )
    return np.array([[float(word) for word in lines[row].split()] for row in rows])


def _number(word: str) -> float | None:
    try:
        number = float(word) if len(word) < 64 and "_" not in word else math.nan
    except ValueError:
        return None
    return number if abs(number) < 1e6 else None


def _cut(text: str) -> str:
    """As much of the user's text as an error shows, on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))[:40]
