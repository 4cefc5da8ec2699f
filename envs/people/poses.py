"""What people do in pictures: frames of clips, their mirror images, and variations within what joints can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mprl.motion import edit, load, motions
from mprl.motion import rotations as rot
from mprl.motion.body import pose_corrections
from mprl.motion.body.joints import JOINTS, rotations_to_pose
from mprl.motion.clip import MotionClip

Array = NDArray[np.float32]

_LOWER = ("pelvis", "hip", "knee", "ankle", "foot")
_UPPER = np.array([joint for joint, name in enumerate(JOINTS) if not any(part in name for part in _LOWER)])


@dataclass(frozen=True)
class Poses:
    """Frames of many clips on SMPL's joints.

    Attributes:
        pose: axis-angle of each joint in SMPL's frame, (N, 24, 3) rad.
        clip: which clip each frame is of, (N,), counted as in `names`.
        names: of the clips.
    """

    pose: Array
    clip: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, clips: Sequence[str | Path | MotionClip] | None = None) -> Poses:
        """Clips and their mirror images.

        Args:
            clips: shipped motions, files, or clips; by default all that ship. Those of other skeletons are retargeted.

        Raises:
            MprlError: a motion that is not there, is broken, or has joints that cannot be told.
        """
        poses, which, names = [], [], []
        for number, motion in enumerate(motions() if clips is None else clips):
            clip = on_body(motion if isinstance(motion, MotionClip) else load(motion))
            for each in (clip, edit.mirror(clip)):
                poses.append(rotations_to_pose(torch.tensor(each.rotations)).float().numpy())
                which.append(np.full(len(poses[-1]), number))
            names.append(clip.name)
        return cls(np.concatenate(poses), np.concatenate(which), tuple(names))

    def draw(self, count: int, rng: np.random.Generator, varied: float = 0.85, free: float = 0.1) -> tuple[Array, NDArray[np.int64]]:
        """Random poses, each clip as likely as the others.

        Args:
            count: how many.
            rng: of all that is drawn.
            varied: share of those that are not as in the clip: every joint is turned otherwise by up to some 15 % of what it can do,
                and in half of them the upper body is that of another frame.
            free: share of those whose joints but the pelvis have nothing to do with a clip.

        Returns:
            Axis-angle (count, 24, 3) rad with the clip's own heading, and the clip that each is of.
        """
        clip = rng.integers(len(self.names), size=count)
        rows = np.array([rng.choice(np.flatnonzero(self.clip == number)) for number in clip], dtype=np.int64)
        pose = self.pose[rows].copy()
        low, high = (limit.astype(np.float32) for limit in pose_corrections.joint_ranges())
        is_varied = rng.random(count) < varied
        others = self.pose[rng.integers(len(self.pose), size=count)]
        swapped = np.flatnonzero(is_varied & (rng.random(count) < 0.5))
        pose[np.ix_(swapped, _UPPER)] = others[np.ix_(swapped, _UPPER)]
        turn = (rng.normal(0.0, 0.15, pose.shape) * rng.random((count, 1, 1)) * is_varied[:, None, None]).astype(np.float32)
        # what a clip does beyond these limits stays, and grows no further
        pose = np.clip(pose + turn * (high - low), np.minimum(low, pose), np.maximum(high, pose))
        is_free = np.flatnonzero(rng.random(count) < free)
        if len(is_free):
            random = pose_corrections.random_poses(len(is_free), rng)
            pose[is_free, 1:] = rot.to_rotation_vector(random)[:, 1:].float().numpy()
        return pose, clip


def on_body(clip: MotionClip) -> MotionClip:
    """A clip of SMPL's joints as it is, another one retargeted, plainly: where feet touch the floor is not looked after.

    Raises:
        SettingError, UnknownNameError: joints that cannot be told.
    """
    if clip.skeleton.names == JOINTS:
        return clip
    from mprl.motion import SmplCharacter
    from mprl.motion.retarget import retarget, target_of

    return retarget(clip, target_of(SmplCharacter()), clean=False)
