"""Motions in pickles, of MimicKit, GMR and PHC, told apart by their keys; nothing in them is executed (`pickles.py`).

| of | keys |
|---|---|
| MimicKit | `fps`, `loop_mode` (1: a cycle), `frames` (T, 6 + N): root position, root rotation vector, each body's vector or angle |
| GMR | `fps`, `root_pos` (T, 3), `root_rot` (T, 4) xyzw, `dof_pos` (T, N): the hinges of a robot |
| PHC | for each motion `pose_aa` (T, 72) in SMPL's order, `root_trans_offset` (the pelvis) or `trans_orig`, `beta`, `gender`, `fps` |
| PHC, of a robot | for each motion `root_trans_offset`, `root_rot` (T, 4) xyzw, `dof` (T, N), `fps` |

All have z up. MimicKit's humanoid (34 columns) is our humanoid, its SMPL body (75) has SMPL's joints; others need a character.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mprl.errors import MotionFormatError, nearest
from mprl.motion import rotations as rot
from mprl.motion.body import joints as smpl
from mprl.motion.characters.character import Character
from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip, Provenance, Skeleton
from mprl.motion.formats import pickles
from mprl.motion.formats.files import MAX_BYTES, check_length
from mprl.motion.formats.joint_angles import Hinges, character_of, needed, rotations_of, skeleton_of
from mprl.motion.formats.smpl_motion import (
    body_or_default,
    clip_from_smpl,
    gender_of,
    numbers,
    rate_of,
    rotations_of_quaternions,
    shape_of,
    shown,
    table,
)

if TYPE_CHECKING:
    from mprl.motion.body.smpl import SmplBody

_KNOWN = "MimicKit (fps, frames), GMR (root_pos, root_rot, dof_pos) or PHC (pose_aa, root_trans_offset)"
_HUMANOID, _SMPL = 34, 75  # columns of MimicKit's frames
# SMPL's joints depth first, as MuJoCo numbers the bodies of a model of it
_DEPTH_FIRST = [0, 1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12, 15, 13, 16, 18, 20, 22, 14, 17, 19, 21, 23]


def read(
    path: str | Path,
    *,
    clip: str | None = None,
    character: Character | str | Path | None = None,
    body: SmplBody | None = None,
) -> MotionClip:
    """Read one motion of a pickle.

    Args:
        path: the file.
        clip: which motion, where the file holds several.
        character: whose joint angles it holds, where they are a robot's.
        body: the SMPL body that is meant, by default the free one.

    Raises:
        MotionFormatError: refused, broken, unknown keys, several motions and none chosen (names them), or angles of an unknown robot.
    """
    path = Path(path)
    motions = _motions(path, pickles.load(path, MAX_BYTES))
    if clip is None and len(motions) == 1:
        clip = next(iter(motions))
    if clip is None or clip not in motions:
        said = f"no motion named '{clip}'{nearest(clip, motions)}; " if clip is not None else ""
        raise MotionFormatError(f"{path}: {said}holds {len(motions)} motions, say which: clip='...' (--clip), of {_some(motions)}")
    return _clip(path, clip, motions[clip], character_of(character), body)


def read_all(
    path: str | Path,
    *,
    character: Character | str | Path | None = None,
    body: SmplBody | None = None,
    failed: list[str] | None = None,
) -> Iterator[MotionClip]:
    """Every motion of a pickle, one after the other; arguments and errors as of `read`.

    Args:
        failed: what is wrong with a motion is put here, and the next one read; without it the first bad one is an error.
    """
    path, owner = Path(path), character_of(character)
    for name, entry in _motions(path, pickles.load(path, MAX_BYTES)).items():
        try:
            clip = _clip(path, name, entry, owner, body)
        except MotionFormatError as error:
            if failed is None:
                raise
            failed.append(f"{error} (motion '{_some([name])}')")
            continue
        yield clip


def names(path: str | Path) -> list[str]:
    """The names of the motions in a pickle; one without a name has the file's.

    Raises:
        MotionFormatError: as `read`.
    """
    path = Path(path)
    return list(_motions(path, pickles.load(path, MAX_BYTES)))


def _motions(path: Path, content: Any) -> dict[str, Mapping[str, Any]]:
    if isinstance(content, dict) and _is_motion(content):
        return {path.stem: content}
    if isinstance(content, list) and content and all(isinstance(entry, dict) and _is_motion(entry) for entry in content):
        return {str(number): entry for number, entry in enumerate(content)}
    if isinstance(content, dict) and content and all(isinstance(entry, dict) and _is_motion(entry) for entry in content.values()):
        return {str(name): entry for name, entry in content.items()}
    found = f"a {type(content).__name__}"
    if isinstance(content, dict):
        inner = next((entry for entry in content.values() if isinstance(entry, dict) and not _is_motion(entry)), content)
        found = f"the keys {_some(inner)}" if inner else "nothing"
    raise MotionFormatError(f"{path}: expected a motion of {_KNOWN}, found {found}")


def _is_motion(entry: Mapping[Any, Any]) -> bool:
    return "frames" in entry or "root_pos" in entry or "pose_aa" in entry or "dof" in entry


def _some(names: Any) -> str:
    listed = [str(name)[:40] for _, name in zip(range(8), names, strict=False)]
    text = " ".join(", ".join(listed).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text) + (", ..." if len(names) > 8 else "")


def _clip(path: Path, name: str, entry: Mapping[str, Any], character: Character | None, body: SmplBody | None) -> MotionClip:
    rate = rate_of(path, entry, ("fps", "framerate", "frame_rate"))
    if "frames" in entry:
        return _mimickit(path, name, entry, rate, character, body)
    if "root_pos" in entry:
        return _robot(path, name, entry, rate, character, ("root_pos", "root_rot", "dof_pos"))
    if "dof" in entry and "root_rot" in entry:
        return _robot(path, name, entry, rate, character, ("root_trans_offset", "root_rot", "dof"))
    pose = table(path, "pose_aa", _need(path, entry, "pose_aa"), 72)
    frames = len(pose)
    offset = entry.get("root_trans_offset")
    pelvis = None if offset is None else table(path, "root_trans_offset", offset, 3, frames)
    trans = pelvis
    if trans is None:
        key = "trans_orig" if "trans_orig" in entry else "trans"
        trans = table(path, key, _need(path, entry, key), 3, frames)
    betas = shape_of(path, entry.get("beta", entry.get("betas")), frames)
    return clip_from_smpl(
        path, name, pose.reshape(frames, 24, 3), trans, rate,
        betas=betas, gender=gender_of(entry.get("gender", "neutral")), body=body, pelvis=pelvis,
    )  # fmt: skip


def _mimickit(
    path: Path, name: str, entry: Mapping[str, Any], rate: float, character: Character | None, body: SmplBody | None
) -> MotionClip:
    array = numbers(path, "frames", entry["frames"])
    if array.ndim != 2 or array.shape[1] < 7:
        raise MotionFormatError(f'{path}, key "frames": expected (frames, 6 + joint angles), found {array.shape}')
    check_length(path, len(array), rate, array.shape[1] // 3)
    array = table(path, "frames", array, array.shape[1])
    loop = entry.get("loop_mode", 0)
    if not isinstance(loop, int | float | np.number) or loop not in (0, 1):
        raise MotionFormatError(f'{path}, key "loop_mode": expected 0 (it ends) or 1 (a cycle), found {shown(loop)}')
    root = rot.from_rotation_vector(torch.as_tensor(array[:, 3:6].copy())).numpy()
    if character is None and array.shape[1] == _SMPL:
        skeleton = body_or_default(body).skeleton()
        rotations = np.zeros((len(array), 24, 4))
        rotations[:, 0] = root
        rotations[:, _DEPTH_FIRST[1:]] = rot.from_rotation_vector(torch.as_tensor(array[:, 6:].reshape(len(array), 23, 3))).numpy()
        assert skeleton.names == smpl.JOINTS
        return _made(path, name, skeleton, rate, array[:, :3], rotations, bool(loop))
    if character is None and array.shape[1] != _HUMANOID:
        raise needed(path, f"{array.shape[1] - 6} joint angles of MimicKit that are neither the humanoid's (28) nor SMPL's (69)")
    if character is None:
        angles = array[:, 6:].copy()
        angles[:, 13] *= -1  # its left elbow turns about z, ours about -z, so that both bend by a positive angle
        angles[:, [17, 24]] *= -1  # its knees turn about y, ours about -y
        return _of_character(path, name, HUMANOID, rate, array[:, :3], root, angles, "frames", bool(loop), "ball")
    return _of_character(path, name, character, rate, array[:, :3], root, array[:, 6:], "frames", bool(loop), "ball")


def _robot(
    path: Path, name: str, entry: Mapping[str, Any], rate: float, character: Character | None, keys: tuple[str, str, str]
) -> MotionClip:
    place, turn, joints = (_need(path, entry, key) for key in keys)
    place = table(path, keys[0], place, 3)
    check_length(path, len(place), rate, 1)
    root = rotations_of_quaternions(path, keys[1], table(path, keys[1], turn, 4, len(place)))
    angles = numbers(path, keys[2], joints)
    angles = angles[..., 0] if angles.ndim == 3 and angles.shape[2] == 1 else angles
    width = angles.shape[1] if angles.ndim == 2 else 0
    angles = table(path, keys[2], angles, width, len(place))
    if character is None:
        raise needed(path, f"{width} joint angles of a robot")
    return _of_character(path, name, character, rate, place, root, angles, keys[2], False, "angles")


def _need(path: Path, entry: Mapping[str, Any], key: str) -> Any:
    if entry.get(key) is None:
        raise MotionFormatError(f'{path}: the key "{key}" is missing')
    return entry[key]


def _of_character(
    path: Path, name: str, character: Character, rate: float, place: np.ndarray, root: np.ndarray, angles: np.ndarray, key: str,
    loop: bool, hinges: Hinges,
) -> MotionClip:  # fmt: skip
    turned = rotations_of(path, key, character, angles, hinges)
    return _made(path, name, skeleton_of(character), rate, place, np.concatenate((root[:, None], turned), axis=1), loop)


def _made(path: Path, name: str, skeleton: Skeleton, rate: float, place: np.ndarray, rotations: np.ndarray, loop: bool) -> MotionClip:
    try:
        return MotionClip(name, skeleton, rate, place, rotations, "wrap" if loop else "none", provenance=Provenance(source=path.name))
    except MotionFormatError as error:
        raise MotionFormatError(f"{path}: {error}") from None
