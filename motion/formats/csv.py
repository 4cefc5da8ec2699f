"""Joint angles as a table of text: one line a frame, the columns named in the first line.

    # frame_rate: 30
    root_x,root_y,root_z,root_rx,root_ry,root_rz,chest_x,chest_y,chest_z,right_knee,...
    0.0,0.0,0.9,0.0,0.0,0.0,0.01,0.0,0.0,-0.3,...

| columns | what |
|---|---|
| `time` | s, evenly spaced; without it the comment `# frame_rate: Hz` above the names says how fast |
| `root_x`, `root_y`, `root_z` | where the root is, m, z up; 0 where missing |
| `root_rx`, `root_ry`, `root_rz`, or `root_qw`, `root_qx`, `root_qy`, `root_qz` | its rotation: vector, rad, or quaternion |
| `NAME_x`, `NAME_y`, `NAME_z`, or those and `NAME_w` | a joint's rotation relative to its parent: vector, rad, or quaternion |
| `NAME` | the angle of a hinge of the character, rad |

Joints that have no column do not turn. Names are those of the humanoid, of SMPL, or of the character that is given.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mprl.errors import MotionFormatError, nearest
from mprl.motion import rotations as rot
from mprl.motion.body import joints as smpl
from mprl.motion.characters.character import Character
from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip, Provenance, Skeleton
from mprl.motion.formats.files import check_length, read_text
from mprl.motion.formats.joint_angles import character_of, skeleton_of

if TYPE_CHECKING:
    from mprl.motion.body.smpl import SmplBody

_RATE = re.compile(r"^#\s*frame_?rate\s*[:=]\s*(\S+)\s*$", re.I)
_JOINT = re.compile(r"^(.+)_([wxyz])$")
MAX_COLUMNS = 4096


def read(path: str | Path, *, character: Character | str | Path | None = None, body: SmplBody | None = None) -> MotionClip:
    """Read a table of joint angles as a clip of the humanoid, of SMPL, or of a character.

    Raises:
        MotionFormatError: names the line or the column, what was expected and what was found.
    """
    path = Path(path)
    names, rows, rate = parse(path, read_text(path))
    columns = dict(zip(names, rows.T, strict=True))
    if "time" in columns:
        rate = rate_of_times(path, columns.pop("time"), rate)
    if rate is not None and not 1e-4 <= rate <= 1e4:
        raise MotionFormatError(f"{path}: expected a frame rate of .0001 to 10000 Hz, found {rate:g}")
    if rate is None:
        raise MotionFormatError(f"{path}: expected a column 'time', or a line '# frame_rate: 30' above the names of the columns")
    check_length(path, len(rows), rate, 1)
    joints = {match[1] for name in columns if (match := _JOINT.match(name)) and match[1] not in ("root", "root_r", "root_q")}
    skeleton, owner = _whose(path, joints, set(columns), character_of(character), body)
    place = np.stack([columns.pop(f"root_{axis}", np.zeros(len(rows))) for axis in "xyz"], axis=1)
    rotations = np.zeros((len(rows), len(skeleton.names), 4))
    rotations[..., 0] = 1.0
    for index, name in enumerate(skeleton.names):
        rotation = (
            _rotation(path, "root", columns, ("root_r", "root_q")) if index == 0 else _rotation(path, name, columns, (f"{name}_",) * 2)
        )
        if rotation is not None:
            rotations[:, index] = rotation
    if owner is not None:
        _hinges(owner, skeleton, columns, rotations)
    if columns:
        known = [*skeleton.names, *(owner.hinge_joints if owner else ())]
        first = next(iter(columns))
        raise MotionFormatError(f"{path}: no joint for the column '{first[:40]}'{nearest(first, known)}; joints: {', '.join(known)[:200]}")
    try:
        return MotionClip(path.stem, skeleton, rate, place, rotations, provenance=Provenance(source=path.name))
    except MotionFormatError as error:
        raise MotionFormatError(f"{path}: {error}") from None


def parse(path: Path, text: str, missing: bool = False) -> tuple[list[str], np.ndarray, float | None]:
    """Names of the columns, rows of numbers, and the frame rate that a comment says; `missing`: empty cells and "nan" are NaN.

    Raises:
        MotionFormatError: names the line.
    """
    rate: float | None = None
    names: list[str] = []
    rows: list[list[float]] = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        if not line.strip():
            continue
        if line.lstrip().startswith("#"):
            said = _RATE.match(line.strip())
            rate = _number(path, number, "frame_rate", said[1]) if said else rate
            continue
        words = [word.strip().strip('"') for word in line.split(";" if ";" in line and "," not in line else ",")]
        if not names:
            names = words
            twice = next((name for i, name in enumerate(names) if name in names[:i]), None) if len(names) <= MAX_COLUMNS else None
            if len(names) > MAX_COLUMNS or twice is not None or not all(names):
                wrong = f"found '{_cut(twice)}' twice" if twice else f"found {len(names)}"
                raise MotionFormatError(f"{path}, line {number}: expected at most {MAX_COLUMNS} different names of columns, {wrong}")
            if all(_is_number(word) for word in words):
                raise MotionFormatError(f"{path}, line {number}: expected the names of the columns (root_x, ...), found numbers")
            continue
        if len(words) != len(names):
            raise MotionFormatError(f"{path}, line {number}: expected {len(names)} numbers, found {len(words)}")
        lacks = [missing and word.lower() in ("", "nan") for word in words]
        rows.append([math.nan if no else _number(path, number, name, word) for name, word, no in zip(names, words, lacks, strict=True)])
    if len(rows) < 2:
        raise MotionFormatError(f"{path}: a motion needs at least 2 frames, found {len(rows)}")
    return names, np.array(rows), rate


def rate_of_times(path: Path, times: np.ndarray, rate: float | None) -> float:
    """The frame rate of evenly spaced times (T,) s, and of a comment where there is one, Hz.

    Raises:
        MotionFormatError: the times are uneven, or the comment says another rate.
    """
    steps = np.diff(times)
    if not (steps > 0).all() or steps.max() - steps.min() > 0.01 * steps.mean() + 2e-3 * (steps.mean() > 0.01):
        raise MotionFormatError(f"{path}, column 'time': expected even steps forward, found {steps.min():.4g} to {steps.max():.4g} s")
    found = len(steps) / (times[-1] - times[0])
    if rate is not None and abs(found - rate) > 0.01 * abs(rate):
        raise MotionFormatError(f"{path}: two frame rates: {rate:g} Hz in the comment, {found:.4g} Hz by the column 'time'")
    return float(found) if rate is None else rate


def _whose(
    path: Path, joints: set[str], columns: set[str], character: Character | None, body: SmplBody | None
) -> tuple[Skeleton, Character | None]:
    """The skeleton whose joints are named, and the character if it has hinges."""
    if character is not None:
        return skeleton_of(character), character
    if joints <= set(smpl.JOINTS) and joints:
        from mprl.motion.formats.smpl_motion import body_or_default

        return body_or_default(body).skeleton(), None
    if joints <= set(HUMANOID.body_names):
        return HUMANOID.skeleton, HUMANOID
    unknown = sorted(joints - set(HUMANOID.body_names) - set(smpl.JOINTS)) or sorted(joints - set(HUMANOID.body_names))
    close = nearest(unknown[0], [*HUMANOID.body_names, *smpl.JOINTS])
    raise MotionFormatError(
        f"{path}: neither the humanoid nor SMPL has a joint '{_cut(unknown[0])}'{close}; "
        "of another character: character='robot.xml' (--character robot.xml)"
    )


def _rotation(path: Path, name: str, columns: dict[str, np.ndarray], prefixes: tuple[str, str]) -> np.ndarray | None:
    """A joint's rotations from its columns, which are taken out, (T, 4); None where it has none."""
    vector, quaternion = prefixes
    if f"{quaternion}w" in columns:
        parts = [f"{quaternion}{axis}" for axis in "wxyz"]
    else:
        parts = [f"{vector}{axis}" for axis in "xyz"]
        if not any(part in columns for part in parts):
            return None
    missing = [part for part in parts if part not in columns]
    if missing:
        raise MotionFormatError(f"{path}: '{name}' has the column '{next(p for p in parts if p in columns)}', but no '{missing[0]}'")
    values = torch.as_tensor(np.stack([columns.pop(part) for part in parts], axis=1))
    if len(parts) == 3:
        return rot.from_rotation_vector(values).numpy()
    norm = values.norm(dim=1)
    if (bad := (norm - 1).abs() > 0.01).any():
        frame = int(bad.int().argmax())
        raise MotionFormatError(f"{path}, frame {frame}: rotation of '{name}' has length {float(norm[frame]):.3g}, expected 1")
    return rot.unit(values).numpy()


def _hinges(character: Character, skeleton: Skeleton, columns: dict[str, np.ndarray], rotations: np.ndarray) -> None:
    """Turn bodies by the angles of their hinges, whose columns are taken out."""
    model = character.model
    for name in character.hinge_joints:
        if name not in columns:
            continue
        joint = model.joint(name)
        body = int(joint.bodyid[0]) - 1
        axis = torch.as_tensor(model.jnt_axis[joint.id].copy()).expand(len(rotations), 3)
        turned = rot.from_axis_angle(axis, torch.as_tensor(columns.pop(name)))
        rotations[:, body] = rot.multiply(torch.as_tensor(rotations[:, body].copy()), turned).numpy()


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _number(path: Path, line: int, name: str, word: str) -> float:
    try:
        value = float(word) if len(word) < 64 and "_" not in word else math.nan
    except ValueError:
        value = math.nan
    if not abs(value) < 1e6:
        raise MotionFormatError(f"{path}, line {line}, '{_cut(name)}': expected a finite number below 1e6, found '{_cut(word)}'")
    return value


def _cut(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:40]
