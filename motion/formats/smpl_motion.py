"""From SMPL's pose parameters to a clip, as AMASS, PHC and others write them.

SMPL turns the body about the pelvis joint, which its shape places at J0(betas), and then moves it by `trans`: the pelvis is at
trans + J0, in whatever axes the data are, not at trans.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mprl.errors import MotionFormatError, SettingError
from mprl.motion import rotations as rot
from mprl.motion.body import joints as smpl
from mprl.motion.clip import Loop, MotionClip, Provenance
from mprl.motion.formats.files import check_length

if TYPE_CHECKING:
    from mprl.motion.body.smpl import SmplBody

BODY_JOINTS = 22  # which SMPL, SMPL-H and SMPL-X share; after them come SMPL's two hands, or fingers, jaw and eyes
MAX_BETAS = 400
MAX_BETA = 100.0  # standard deviations; people lie within 5
MAX_NUMBERS = 2**25  # in lists
GENDERS = ("neutral", "male", "female")


def body_or_default(body: SmplBody | None) -> SmplBody:
    """The body that is given, or the free one."""
    from mprl.motion.body.smpl import SmplBody

    return body or SmplBody.default()


def clip_from_smpl(
    path: Path,
    name: str,
    pose: np.ndarray,
    trans: np.ndarray,
    frame_rate: float,
    *,
    betas: np.ndarray | None = None,
    gender: str = "neutral",
    up: str | None = None,
    body: SmplBody | None = None,
    pelvis: np.ndarray | None = None,
    loop: Loop = "none",
) -> MotionClip:
    """A clip of SMPL's joints.

    Args:
        path: for messages. name: of the clip.
        pose: axis-angle of each joint, (T, 24, 3) or fewer joints, the others do not turn; rad.
        trans: SMPL's translation, (T, 3) m.
        frame_rate: Hz.
        betas: shape, (S,); what the body has no direction for is left out.
        up: "z" (None: AMASS) or "y": which way is up in the world of `trans` and of the pelvis' rotation.
        body: whose joints are meant; by default the free body.
        pelvis: where the pelvis is, (T, 3) m, if that is known rather than `trans`.

    Raises:
        MotionFormatError: names the file and what is wrong.
    """
    if up not in (None, "y", "z"):
        raise SettingError(f"up: data of SMPL have y or z up, not '{up}'")
    check_length(path, len(pose), frame_rate, len(smpl.JOINTS))
    body = body_or_default(body)
    betas = None if betas is None else betas[: body.num_betas]
    shape = None if betas is None else torch.as_tensor(betas)[None]
    full = np.zeros((len(pose), len(smpl.JOINTS), 3))
    full[:, : pose.shape[1]] = pose
    vectors = torch.as_tensor(full)
    rotations = smpl.pose_to_rotations(vectors)
    place = trans + body.rest_joints(shape)[0, 0].double().cpu().numpy() if pelvis is None else pelvis
    if up == "y":
        place = smpl.from_smpl(torch.as_tensor(place)).numpy()
    else:
        rotations[:, 0] = smpl.root_of_z_up_world(vectors[:, 0])
    try:
        return MotionClip(
            name, body.skeleton(shape), frame_rate, place, rotations.numpy(), loop, betas=betas, gender=gender,
            provenance=Provenance(source=path.name),
        )  # fmt: skip
    except MotionFormatError as error:
        raise MotionFormatError(f"{path}: {error}") from None


def smpl_from_clip(clip: MotionClip, body: SmplBody | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The inverse, for a z-up world: pose (T, 24, 3) rad and SMPL's translation (T, 3) m.

    Raises:
        SettingError: the clip's joints are not SMPL's.
    """
    if set(clip.skeleton.names) != set(smpl.JOINTS):
        raise SettingError(f"{clip.name}: its joints are not SMPL's; retarget it first: mprl motion retarget FILE OUT --character smpl")
    body = body_or_default(body)
    rotations = torch.as_tensor(clip.rotations[:, [clip.skeleton.names.index(name) for name in smpl.JOINTS]])
    pose = smpl.rotations_to_pose(rotations)
    pose[:, 0] = smpl.root_in_z_up_world(rotations[:, 0])
    shape = None if clip.betas is None else torch.as_tensor(clip.betas.copy())[None]
    return pose.numpy(), clip.root_position - body.rest_joints(shape)[0, 0].double().cpu().numpy()


def numbers(path: Path, key: str, value: Any) -> np.ndarray:
    """An array of numbers, out of one or out of lists of numbers, of lists, ... up to three deep.

    Raises:
        MotionFormatError: anything else, lists of unequal length, or far too many: a list may hold another one many times.
    """
    if isinstance(value, np.ndarray | np.number) and value.dtype.kind in "biuf":
        return np.asarray(value)
    left = MAX_NUMBERS

    def count(item: Any, depth: int) -> bool:
        nonlocal left
        if isinstance(item, list | tuple) and depth < 3:
            return all(count(part, depth + 1) for part in item)
        if isinstance(item, np.ndarray) and depth and item.ndim + depth <= 3 and item.dtype.kind in "biuf":
            left -= item.size
            return left >= 0
        left -= 1
        return left >= 0 and isinstance(item, int | float | np.number)

    if count(value, 0):
        try:
            return np.asarray(value, dtype=np.float64)
        except (ValueError, OverflowError):
            raise MotionFormatError(f'{path}, key "{key}": expected rows of as many numbers each') from None
    found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    raise MotionFormatError(f'{path}, key "{key}": expected at most {MAX_NUMBERS} numbers, found {found} of something else or more')


def shape_of(path: Path, betas: Any, frames: int) -> np.ndarray | None:
    """betas as a vector; as many as frames where all are the same.

    Raises:
        MotionFormatError: none, too many, or another body in each frame.
    """
    if betas is None:
        return None
    values = numbers(path, "betas", betas)
    if values.ndim == 2 and len(values) in (1, frames) and (values == values[:1]).all():
        values = values[0]
    if values.ndim != 1 or not 1 <= len(values) <= MAX_BETAS or not (np.abs(values) < MAX_BETA).all():
        raise MotionFormatError(
            f"{path}: expected 1 to {MAX_BETAS} betas (10 or 16 in most files) below {MAX_BETA:g}, found "
            + (f"{np.abs(values).max():.3g}" if values.ndim == 1 and 1 <= len(values) <= MAX_BETAS else f"shape {values.shape}")
        )
    return values.astype(np.float64)


def gender_of(value: Any) -> str:
    """ "neutral", "male" or "female", from text, bytes, or an array of either; neutral where it is anything else."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "SU":
        value = value.reshape(-1)[0]
    text = value if isinstance(value, str | bytes) else ""
    text = text.decode("latin-1") if isinstance(text, bytes) else str(text)
    return text.lower() if text.lower() in GENDERS else "neutral"


def shown(value: Any) -> str:
    """A value in an error: a number or a text as it is, of all else only the kind, as it may be any size."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biufSU":
        value = value.item()
    return repr(value)[:40] if isinstance(value, str | bytes | int | float) else f"a {type(value).__name__}"


def table(path: Path, key: str, values: Any, columns: int, frames: int | None = None) -> np.ndarray:
    """A table of finite numbers (T, columns), or (T, columns / 3, 3) laid flat.

    Raises:
        MotionFormatError: it is none, has other columns or frames, or holds what is not finite.
    """
    array = numbers(path, key, values)
    if array.ndim == 3 and array.shape[1] * array.shape[2] == columns:
        array = array.reshape(len(array), columns)
    if array.ndim != 2 or array.shape[1] != columns or (frames is not None and len(array) != frames):
        raise MotionFormatError(f'{path}, key "{key}": expected ({frames or "frames"}, {columns}), found {array.shape}')
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise MotionFormatError(f'{path}, key "{key}", frame {int(np.argmax(bad))}: expected finite numbers, found NaN or infinity')
    return array.astype(np.float64)


def rate_of(path: Path, content: Any, keys: tuple[str, ...]) -> float:
    """The frame rate under one of several names, Hz.

    Raises:
        MotionFormatError: it is missing, not a positive number, or said twice and differently.
    """
    found = {}
    for key in keys:
        if content.get(key) is not None:
            value = numbers(path, key, content[key])
            if value.size != 1 or not 1e-3 <= float(value.reshape(())) <= 1e4:
                raise MotionFormatError(f'{path}, key "{key}": expected frames per second, found {shown(content[key])}')
            found[key] = float(value.reshape(()))
    if not found:
        raise MotionFormatError(f'{path}: the frame rate is missing, expected a key "{keys[0]}"')
    if max(found.values()) - min(found.values()) > 1e-3 * max(found.values()):
        raise MotionFormatError(f"{path}: two frame rates: {', '.join(f'{key} {value:g}' for key, value in found.items())}")
    return next(iter(found.values()))


def rotations_of_quaternions(path: Path, key: str, xyzw: np.ndarray) -> np.ndarray:
    """Quaternions (T, 4) in the order x, y, z, w as wxyz of length 1.

    Raises:
        MotionFormatError: one is far from length 1.
    """
    with np.errstate(over="ignore"):
        norm = np.linalg.norm(xyzw, axis=1)
    bad = ~(np.abs(norm - 1) < 0.01)
    if bad.any():
        frame = int(np.argmax(bad))
        raise MotionFormatError(f'{path}, key "{key}", frame {frame}: rotation has length {norm[frame]:.3g}, expected 1')
    return rot.unit(torch.as_tensor(xyzw[:, [3, 0, 1, 2]])).numpy()
