"""The DeepMimic motion file, `humanoid3d_*.txt`: JSON with 44 numbers a frame.

    {"Loop": "wrap" | "none", "Frames": [[44 numbers], ...]}

The file's world is y up and x forward, its rest pose has hanging arms, its quaternions are (w, x, y, z):

| columns | what |
|---|---|
| 0 | duration of the frame, s; the last frame's does not count |
| 1-3, 4-7 | root position, m; root rotation |
| 8-11, 12-15 | chest, neck |
| 16-19, 20, 21-24 | right hip, right knee (rad), right ankle |
| 25-28, 29 | right shoulder, right elbow (rad) |
| 30-33, 34, 35-38 | left hip, knee, ankle |
| 39-42, 43 | left shoulder, elbow |

Other keys are ignored. Source: Peng et al. 2018 and the authors' release.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from mprl.errors import MotionFormatError
from mprl.motion import rotations as rot
from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MAX_DURATION, Loop, MotionClip, Provenance, resample
from mprl.motion.formats.files import read_text

COLUMNS = 44
# s; no camera is faster, and a frame of nearly no length would ask for millions of frames in between
MIN_DURATION = 1e-4
# Hz; frames of uneven duration are resampled at the shortest one's rate, or at this
MAX_RATE = 240.0
# but to no more frames for each in the file, or a few of them that last an hour would fill the memory
MAX_RESAMPLED = 100
_BALLS = {
    "root": 4, "chest": 8, "neck": 12, "right_hip": 16, "right_ankle": 21, "right_shoulder": 25,
    "left_hip": 30, "left_ankle": 35, "left_shoulder": 39,
}  # fmt: skip
_HINGES = {"right_knee": 20, "right_elbow": 29, "left_knee": 34, "left_elbow": 43}
# Rest pose: from our T-pose's arm (along -y on the right, +y on the left) to the file's hanging one (along -z).
_HANGING = {"right_shoulder": np.pi / 2, "left_shoulder": -np.pi / 2}


def read(path: str | Path) -> MotionClip:
    """Read a DeepMimic motion file as a clip of our humanoid.

    Frames of uneven duration are resampled to an even rate by slerp.

    Raises:
        MotionFormatError: names the file, the frame (counted from 0) or the key, and what was expected.
    """
    path = Path(path)
    frames, loop = _parse(path)
    times = np.concatenate(([0.0], np.cumsum(frames[:-1, 0])))
    root = _to_z_up(frames[:, 1:4])
    rotations = np.zeros((len(frames), len(HUMANOID.body_names), 4))
    rotations[..., 0] = 1.0
    for name, column in _BALLS.items():
        w, xyz = frames[:, column : column + 1], _to_z_up(frames[:, column + 1 : column + 4])
        rotations[:, HUMANOID.body_names.index(name)] = _unit(np.concatenate((w, xyz), axis=1), path, name)
    for name, column in _HINGES.items():
        axis = torch.as_tensor(HUMANOID.model.joint(name).axis.copy())
        turned = rot.from_axis_angle(axis.expand(len(frames), 3), torch.as_tensor(frames[:, column]))
        rotations[:, HUMANOID.body_names.index(name)] = turned.numpy()
    for name, turn in _HANGING.items():
        down = rot.from_rotation_vector(torch.tensor([turn, 0.0, 0.0], dtype=torch.float64))
        joint = HUMANOID.body_names.index(name)
        rotations[:, joint] = rot.multiply(torch.as_tensor(rotations[:, joint]), down.expand(len(frames), 4)).numpy()

    durations = np.diff(times)
    rate = 1.0 / durations.mean()
    if durations.max() - durations.min() > 1e-3 * durations.mean():
        rate = min(1.0 / durations.min(), MAX_RATE, MAX_RESAMPLED * len(frames) / times[-1])
        root, rotations = resample(times, rate, root, rotations)
        rate = (len(root) - 1) / (times[-1] - times[0])
    name = path.stem.removeprefix("humanoid3d_")
    return MotionClip(name, HUMANOID.skeleton, rate, root, rotations, loop, provenance=Provenance(source=path.name))


def _parse(path: Path) -> tuple[np.ndarray, Loop]:
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        cut = "; is the file cut off?" if isinstance(error, json.JSONDecodeError) and error.pos >= len(text.rstrip()) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise MotionFormatError(f"{path}{place}: expected JSON as in DeepMimic's motion files: {what}{cut}") from None
    if not isinstance(content, dict) or not isinstance(content.get("Frames"), list):
        raise MotionFormatError(f'{path}: expected an object with a list "Frames"; is this a DeepMimic motion file?')
    loop = content.get("Loop", "none")
    if loop not in ("wrap", "none"):
        raise MotionFormatError(f'{path}, key "Loop": expected "wrap" or "none", found {json.dumps(loop)[:40]}')
    rows = content["Frames"]
    if len(rows) < 2:
        raise MotionFormatError(f'{path}, key "Frames": expected at least 2 frames, found {len(rows)}')
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != COLUMNS:
            found = f"{len(row)}" if isinstance(row, list) else type(row).__name__
            raise MotionFormatError(f"{path}, frame {index}: expected {COLUMNS} numbers, found {found}")
        for column, value in enumerate(row):
            # bool is an int to Python; an integer may be too large for a float
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
                raise MotionFormatError(
                    f"{path}, frame {index}, column {column}: expected a finite number below 1e6, found {json.dumps(value)[:40]}"
                )
    frames = np.array(rows, dtype=np.float64)
    bad = frames[:-1, 0] < MIN_DURATION
    if bad.any():
        index = int(np.argmax(bad))
        raise MotionFormatError(f"{path}, frame {index}: expected a duration of at least {MIN_DURATION:g} s, found {frames[index, 0]:g} s")
    seconds = frames[:-1, 0].sum()
    if seconds > MAX_DURATION:
        raise MotionFormatError(f"{path}: expected a motion of at most an hour, found {seconds:.6g} s")
    return frames, loop


def _to_z_up(v: np.ndarray) -> np.ndarray:
    """(x, y, z), y up -> (x, -z, y), z up; for vectors and for the vector parts of quaternions."""
    return np.stack((v[:, 0], -v[:, 2], v[:, 1]), axis=1)


def _unit(q: np.ndarray, path: Path, name: str) -> np.ndarray:
    # the release's own clips carry edited frames up to 12 % off unit length, which it normalises
    norm = np.linalg.norm(q, axis=1, keepdims=True)
    bad = np.abs(norm[:, 0] - 1) > 0.5
    if bad.any():
        index = int(np.argmax(bad))
        raise MotionFormatError(f"{path}, frame {index}: rotation of '{name}' has length {norm[index, 0]:.3g}, expected 1")
    return q / norm
