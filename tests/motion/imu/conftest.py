"""Motions whose truth is known by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mprl.motion import MotionClip, SmplBody
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS

RATE = 60.0


@pytest.fixture(scope="session")
def moving():
    """Makes a clip: rotation vectors by joint as functions of time, root path and yaw."""

    def make(angles=None, seconds: float = 1.0, root=None, yaw=None) -> MotionClip:
        time = np.arange(round(seconds * RATE) + 1) / RATE
        vectors = np.zeros((len(time), len(JOINTS), 3))
        for joint, turn in (angles or {}).items():
            vectors[:, JOINTS.index(joint)] = np.stack([np.broadcast_to(value, time.shape) for value in turn(time)], axis=-1)
        rotations = rot.from_rotation_vector(torch.as_tensor(vectors))
        if yaw is not None:
            turned = rot.about_vertical(torch.as_tensor(yaw(time)))
            rotations[:, 0] = rot.multiply(turned, rotations[:, 0])
        place = (
            np.zeros((len(time), 3)) if root is None else np.stack([np.broadcast_to(value, time.shape) for value in root(time)], axis=-1)
        )
        return MotionClip("made", SmplBody.default().skeleton(), RATE, place, rotations.numpy())

    return make


@pytest.fixture(scope="session")
def squatting(moving):
    """Arms down and swinging, knees that bend: what sensors on shanks and forearms do not see directly."""
    return moving(
        {
            "left_hip": lambda t: (0, -0.5 - 0.4 * np.sin(5 * t), 0),
            "right_hip": lambda t: (0, -0.5 + 0.4 * np.sin(5 * t), 0),
            "left_knee": lambda t: (0, 0.8 + 0.3 * np.sin(5 * t), 0),
            "right_knee": lambda t: (0, 0.8 - 0.3 * np.sin(5 * t), 0),
            "left_shoulder": lambda t: (-1.1, 0.4 * np.sin(5 * t), 0),
            "right_shoulder": lambda t: (1.1, -0.4 * np.sin(5 * t), 0),
            "left_elbow": lambda t: (0, 0, -0.6),
            "right_elbow": lambda t: (0, 0, 0.6),
            "spine2": lambda t: (0, 0.2, 0.1 * np.sin(5 * t)),
        }
    )
