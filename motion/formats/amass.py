"""AMASS motion files: a NumPy `.npz` of SMPL's parameters (Mahmood et al. 2019), of SMPL, SMPL-H or SMPL-X.

| key | what |
|---|---|
| `poses` | axis-angle of each joint, (T, 72) SMPL, (T, 156) SMPL-H, (T, 165) SMPL-X, rad; the pelvis' turns the body into a z-up world |
| `root_orient`, `pose_body`, `pose_hand`, ... | the same in parts, as the "stage II" files have them, (T, 3), (T, 63), ... |
| `global_orient`, `body_pose`, `transl` | what `smplx` calls root_orient, pose_body and trans |
| `trans` | SMPL's translation, (T, 3) m: the pelvis is at trans + J0(betas) |
| `mocap_framerate` or `mocap_frame_rate` | Hz |
| `betas`, `gender` | the body |

Of fingers, jaw and eyes SMPL has none: they are left out; SMPL's own two hand joints come only from 72 columns. Other keys are ignored.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mprl.errors import MotionFormatError
from mprl.motion.body.joints import JOINTS
from mprl.motion.clip import MotionClip
from mprl.motion.formats.files import check_length, write_atomically
from mprl.motion.formats.members import TABLE, read_members
from mprl.motion.formats.smpl_motion import BODY_JOINTS, clip_from_smpl, gender_of, rate_of, shape_of, smpl_from_clip, table

if TYPE_CHECKING:
    from mprl.motion.body.smpl import SmplBody

WIDTHS = {72: "SMPL", 156: "SMPL-H", 165: "SMPL-X", 3 * BODY_JOINTS: "SMPL-X's body"}
RATES = ("mocap_framerate", "mocap_frame_rate", "fps", "framerate")
_ALIASES = {"global_orient": "root_orient", "body_pose": "pose_body", "transl": "trans"}
_MOST = {
    **dict.fromkeys(("poses", "root_orient", "pose_body", "trans", *_ALIASES), TABLE), "betas": 2**17, "gender": 1,
    **dict.fromkeys(RATES, 1),
}  # fmt: skip


def is_amass(names: list[str]) -> bool:
    """Whether a `.npz` with these keys holds SMPL's parameters."""
    return any(key in names for key in ("poses", "pose_body", "body_pose"))


def read(path: str | Path, *, up: str | None = None, body: SmplBody | None = None) -> MotionClip:
    """Read an AMASS file as a clip of SMPL's 24 joints.

    Args:
        path: the file.
        up: "z", as in AMASS, or "y", as files of others have it.
        body: the body whose pelvis and bones are meant, by default the free one; betas that it has no direction for are left out.

    Raises:
        MotionFormatError: names the file and the key, what was expected and what was found.
    """
    path = Path(path)
    content, names = read_members(path, _MOST)
    for alias, key in _ALIASES.items():
        if alias in content:
            content.setdefault(key, content[alias])
    rate = rate_of(path, content, RATES)
    check_length(
        path, next((len(content[key]) for key in ("poses", "pose_body") if key in content and content[key].ndim), 2), rate, len(JOINTS)
    )
    if "poses" in content:
        shape = content["poses"].shape
        width = math.prod(shape[1:]) if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3) else 0
        if width not in WIDTHS:
            widths = ", ".join(f"{columns} ({kind})" for columns, kind in WIDTHS.items())
            raise MotionFormatError(
                f'{path}, key "poses": expected (frames, columns) with columns {widths}, found {content["poses"].shape}'
            )
        pose = table(path, "poses", content["poses"], width)
        pose = pose if width == 72 else pose[:, : 3 * BODY_JOINTS]
    elif "root_orient" in content and "pose_body" in content:
        root = table(path, "root_orient", content["root_orient"], 3)
        width = 69 if math.prod(content["pose_body"].shape[1:]) == 69 else 63  # SMPL's own has two hands more
        pose = np.concatenate((root, table(path, "pose_body", content["pose_body"], width, len(root))), axis=1)
    else:
        raise MotionFormatError(f'{path}: expected "poses", or "root_orient" and "pose_body"; this .npz holds {", ".join(names)[:80]}')
    if "trans" not in content:
        raise MotionFormatError(f'{path}: the key "trans" is missing')
    frames = len(pose)
    trans = table(path, "trans", content["trans"], 3, frames)
    name = path.stem.removesuffix("_poses").removesuffix("_stageii")
    return clip_from_smpl(
        path, name, pose.reshape(frames, pose.shape[1] // 3, 3), trans, rate, up=up, body=body,
        betas=shape_of(path, content.get("betas"), frames), gender=gender_of(content.get("gender", "neutral")),
    )  # fmt: skip


def write(clip: MotionClip, path: str | Path, *, body: SmplBody | None = None) -> Path:
    """Write a clip of SMPL's joints in AMASS's layout: SMPL-H's 156 columns, or SMPL's 72 where the hand joints turn.

    Raises:
        SettingError: the clip's joints are not SMPL's.
        MotionFormatError: it cannot be written there.
    """
    pose, trans = smpl_from_clip(clip, body)
    poses = pose.reshape(len(pose), -1)
    if not np.abs(pose[:, BODY_JOINTS:]).max() > 1e-9:
        poses = np.concatenate((poses[:, : 3 * BODY_JOINTS], np.zeros((len(pose), 156 - 3 * BODY_JOINTS))), axis=1)
    betas = np.zeros(16) if clip.betas is None else clip.betas
    return write_atomically(
        Path(path),
        lambda file: np.savez_compressed(
            file, poses=poses, trans=trans, betas=betas, gender=clip.gender, mocap_framerate=clip.frame_rate,
            mocap_frame_rate=clip.frame_rate, mocap_time_length=clip.duration,
            source=clip.provenance.source, licence=clip.provenance.licence,
        ),
    )  # fmt: skip
