"""Where a motion heads."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.motion.clip import MotionClip


def turn(clip: MotionClip, angle: float) -> MotionClip:
    """The whole motion turned about the vertical through where its root starts, by `angle` rad, to the left where positive.

    Raises:
        SettingError: the angle is not a finite number.
    """
    if not math.isfinite(angle):
        raise SettingError(f"{clip.name}: the angle must be a finite number, found {angle}")
    yaw = rot.about_vertical(torch.tensor(angle, dtype=torch.float64))
    rotations = clip.rotations.copy()
    rotations[:, 0] = rot.multiply(yaw.expand(clip.num_frames, 4), torch.as_tensor(rotations[:, 0])).numpy()
    pivot = clip.root_position[0] * [1.0, 1.0, 0.0]
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return replace(clip, root_position=(clip.root_position - pivot) @ matrix.T + pivot, rotations=rotations)
