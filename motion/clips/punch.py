"""A straight punch of the right hand from a boxer's stance, again and again, from first principles.

Both feet stay planted. The blow comes from the floor up, as people do it (Turner et al. 2011): the pelvis turns and shifts over the
front foot, the trunk turns on, and the arm, which has been waiting at the chin, is straight a moment later. How far the pelvis
shifts is chosen so that the ground's force acts between the feet all the time.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BPoly
from scipy.spatial.transform import Rotation

from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip
from mprl.motion.clips.pose import HEEL, PROVENANCE, Array, Limb, about, assemble, dynamics, follow, right_arm, right_leg

FRAME_RATE, FRAMES = 60.0, 96  # a cycle of 1.6 s
TIME = np.arange(FRAMES) / FRAME_RATE
FRONT, BACK = np.array([0.17, 0.11, -HEEL[2]]), np.array([-0.17, -0.12, -HEEL[2]])  # ankles of the left and the right foot, m
FRONT_YAW, BACK_YAW = np.radians(-10.0), np.radians(-40.0)
PELVIS_HEIGHT, SHIFT, DIP = 0.82, 0.045, 0.015  # m
# Waiting, and striking, degrees: yaw of the pelvis, yaw and lean of the trunk, and the arm that strikes.
PELVIS_YAW, CHEST_YAW, LEAN, SHOULDER, ELBOW = (-32.0, 8.0), (-35.0, 30.0), (6.0, 13.0), (38.0, 88.0), (125.0, 8.0)
GUARD_SHOULDER, GUARD_ELBOW = np.radians(48.0), np.radians(112.0)

# Where the ground's force may act: within a strip from foot to foot, m from its middle, along and across.
STRIP = np.array([0.20, 0.06])

# s: each part of the body begins, is out, leaves again, is back; from the floor up
PELVIS_TIMES, CHEST_TIMES, ARM_TIMES = (0.20, 0.70, 0.82, 1.45), (0.28, 0.76, 0.84, 1.42), (0.42, 0.78, 0.84, 1.30)


def punch() -> MotionClip:
    """A cycle of one punch along +x, in place; 1.6 s, 60 Hz."""
    out = _out(PELVIS_TIMES)
    pelvis = np.stack((SHIFT * (2 * out - 1), np.zeros(FRAMES), PELVIS_HEIGHT - DIP * out), axis=1)
    for _ in range(12):
        clip = _clip(pelvis)
        point = dynamics(clip).zero_moment_point[:-1]
        pelvis[:, :2] += follow(_supported(point) - point, FRAME_RATE)
    return _clip(pelvis)


def _clip(pelvis: Array) -> MotionClip:
    chest_out, arm_out = _out(CHEST_TIMES), _out(ARM_TIMES)
    chest_yaw, lean = _between(CHEST_YAW, chest_out), _between(LEAN, chest_out)
    pelvis_rotation, chest = about("zy", _between(PELVIS_YAW, _out(PELVIS_TIMES)), 0.5 * lean), about("zy", chest_yaw, lean)
    head = about("z", 0.2 * chest_yaw)
    right = right_leg(pelvis, pelvis_rotation, np.broadcast_to(BACK, (FRAMES, 3)), about("z", np.full(FRAMES, BACK_YAW)))
    left = _left_leg(pelvis, pelvis_rotation, np.broadcast_to(FRONT, (FRAMES, 3)), about("z", np.full(FRAMES, FRONT_YAW)))
    strikes = right_arm(_between(SHOULDER, arm_out), _between(ELBOW, arm_out), 0.15 + 0.25 * arm_out, 0.35)
    guards = right_arm(np.full(FRAMES, GUARD_SHOULDER), np.full(FRAMES, GUARD_ELBOW), 0.15, 0.35).mirrored()
    rotations = assemble(pelvis_rotation, chest, head, (right, left), (strikes, guards))
    return MotionClip(
        "punch",
        HUMANOID.skeleton,
        FRAME_RATE,
        np.concatenate((pelvis, pelvis[:1])),
        np.concatenate((rotations, rotations[:1])),
        loop="wrap",
        contacts=np.ones((FRAMES + 1, 2), dtype=bool),
        provenance=PROVENANCE,
    )


def _supported(point: Array) -> Array:
    """The nearest points (T, 2) within the strip."""
    ahead = (FRONT - BACK)[:2] / np.linalg.norm((FRONT - BACK)[:2])
    axes, middle = np.array([ahead, [-ahead[1], ahead[0]]]), np.array([0.05, 0.01])  # a foot reaches further ahead of its ankle
    return middle + np.clip((point - middle) @ axes.T, -STRIP, STRIP) @ axes


def _out(times: tuple[float, float, float, float]) -> Array:
    """From 0, waiting, to 1, striking, and back, smoothly to the second derivative, (T,)."""
    curve = BPoly.from_derivatives(times, [[0.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0], [0.0, 0, 0]])
    return curve(np.clip(TIME, times[0], times[-1]))


def _between(ends: tuple[float, float], share: Array) -> Array:
    return np.radians(ends[0] + (ends[1] - ends[0]) * share)


def _left_leg(pelvis: Array, pelvis_rotation: Rotation, ankle: Array, foot_rotation: Rotation) -> Limb:
    """The left leg as the right one seen in a mirror."""
    flip = np.array([1.0, -1.0, 1.0])

    def mirrored(rotation: Rotation) -> Rotation:
        return Rotation.from_quat(rotation.as_quat(scalar_first=True) * [1, -1, 1, -1], scalar_first=True)

    return right_leg(pelvis * flip, mirrored(pelvis_rotation), ankle * flip, mirrored(foot_rotation)).mirrored()
