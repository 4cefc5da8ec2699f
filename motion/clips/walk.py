"""A human walk from first principles: feet that roll and do not slide, and a pelvis that keeps its balance over them.

Time is in cycles; the right heel strikes at 0, the left one at 1/2. The left side does what the right side did half a cycle
before, mirrored. What people do is from Perry & Burnfield, Gait Analysis (2nd ed., 2010), and Winter, Biomechanics and Motor
Control of Human Gait (1991): stance 62 % of the cycle, 2-4 cm of pelvic bob, ±4° of pelvic rotation and list, a knee that
yields after the strike and bends by about 60° in swing. The pelvis' horizontal path is solved for, not guessed: the
zero-moment point (Vukobratovic & Borovac 2004) has to travel along the feet from heel to toe.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BPoly, PchipInterpolator
from scipy.spatial.transform import Rotation

from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip
from mprl.motion.clips.pose import (
    HEEL,
    PROVENANCE,
    TOE,
    Array,
    about,
    assemble,
    derivatives,
    dynamics,
    follow,
    right_arm,
    right_leg,
    rolled,
)

FRAME_RATE, FRAMES = 60.0, 64  # a cycle of 1.07 s
STRIDE = 1.18  # m: 1.1 m/s
HALF_STEP_WIDTH = 0.06  # m, from the line of walking to an ankle
TOES_OUT = np.radians(7.0)
PELVIS_HEIGHT, BOB = 0.848, 0.018  # mean and amplitude, m

# Events of the right foot, in cycles.
FOOT_FLAT, HEEL_OFF, OTHER_STRIKE, TOE_OFF = 0.09, 0.36, 0.50, 0.61
# The foot's pitch there, toes down positive, with its derivatives: rad, rad/cycle, rad/cycle^2.
STRIKE_PITCH = np.array([-0.31, 0.6, 0.0])
PUSH_OFF_PITCH = np.array([0.28, 5.0, 25.0])
TOE_OFF_PITCH = np.array([0.92, 6.0, -30.0])
# Acceleration of the ankle as it leaves and just before it strikes, m/s^2.
TOE_OFF_PULL, STRIKE_BRAKE = np.array([12.0, 0.0, 3.0]), np.array([-46.0, 0.0, 3.0])
SWING_LIFT = 0.015  # m, of the ankle above the straight way from toe-off to strike


def walk() -> MotionClip:
    """A cyclic walk along +x: 1.1 m/s, 1.07 s a cycle, 60 Hz."""
    phase = np.arange(FRAMES) / FRAMES
    ankle, foot = _right_foot(phase)
    target = _zero_moment_path(phase)
    pelvis = np.stack((STRIDE * (phase - 0.25), np.zeros(FRAMES), PELVIS_HEIGHT - BOB * np.cos(4 * np.pi * (phase - 0.045))), axis=1)
    for _ in range(8):
        clip = _clip(phase, pelvis, ankle, foot)
        error = target - dynamics(clip).zero_moment_point[:-1]
        pelvis[:, :2] += follow(error, FRAME_RATE)
    return _clip(phase, pelvis, ankle, foot)


def _right_foot(phase: Array) -> tuple[Array, Rotation]:
    """The right ankle (T, 3), in a world in which the right foot stands flat at x = 0, and the foot's rotation.

    In stance the foot rolls over its heel, stands, and rolls over its toes, so its pitch alone moves it and nothing slides. In
    swing the ankle is led from where it leaves to where it strikes.
    """
    pitch = BPoly.from_derivatives(
        [0.0, FOOT_FLAT, HEEL_OFF, OTHER_STRIKE, TOE_OFF, 1.0],
        [STRIKE_PITCH, [0, 0, 0], [0, 0, 0], PUSH_OFF_PITCH, TOE_OFF_PITCH, STRIKE_PITCH],
    )
    place, heading = np.array([0.0, -HALF_STEP_WIDTH, 0.0]), about("z", -TOES_OUT)

    def stance(at: Array) -> Array:
        angle = pitch(at)
        return place + rolled(heading, about("zy", -TOES_OUT, angle), np.where(angle[:, None] < 0, HEEL, TOE))

    leave, strike = derivatives(stance, TOE_OFF, -1e-4), derivatives(stance, 0.0, 1e-4)
    strike[0, 0] += STRIDE
    leave[2], strike[2] = (acceleration * (FRAMES / FRAME_RATE) ** 2 for acceleration in (TOE_OFF_PULL, STRIKE_BRAKE))
    swing = BPoly.from_derivatives([TOE_OFF, 1.0], [leave, strike])
    progress = np.clip((phase - TOE_OFF) / (1 - TOE_OFF), 0.0, 1.0)
    lift = SWING_LIFT * 64 * (progress * (1 - progress)) ** 3
    ankle = np.where(phase[:, None] <= TOE_OFF, stance(phase), swing(phase) + lift[:, None] * [0.0, 0.0, 1.0])
    return ankle, about("zy", -TOES_OUT, pitch(phase))


def _zero_moment_path(phase: Array) -> Array:
    """Where the ground's force should act, (T, 2) m: along the right foot in the first half of the cycle, then along the left."""
    out = np.tan(TOES_OUT)
    along = np.array([0.02, 0.06, TOE[0] - 0.002, TOE[0]])  # of the standing foot, from its ankle
    knots = [0.12, 0.20, HEEL_OFF + 0.02, OTHER_STRIKE]
    right = np.stack((along, -HALF_STEP_WIDTH - out * along), axis=1)
    left = right * [1, -1]
    half = [0.5 * STRIDE, 0.0]
    points = np.concatenate((left - half, right, left + half, right + 2 * np.array(half)))
    times = np.concatenate([np.array(knots) + 0.5 * k for k in range(-1, 3)])
    return PchipInterpolator(times, points)(phase)


def _clip(phase: Array, pelvis: Array, ankle: Array, foot: Rotation) -> MotionClip:
    def swings(amplitude: float, peak: float) -> Array:
        return np.radians(amplitude) * np.cos(2 * np.pi * (phase - peak))

    # the pelvis turns its right side forward as the right heel strikes, and drops on the side of the leg that swings
    pelvis_rotation = about("zxy", swings(5.0, 0.0), swings(-3.0, 0.22), np.radians(2.0))
    chest = about("zxy", swings(-5.0, 0.02), swings(1.0, 0.22), np.radians(1.0))
    head = about("y", np.zeros(FRAMES))
    leg = right_leg(pelvis, pelvis_rotation, ankle, foot)
    arm = right_arm(swings(20.0, 0.52), np.radians(24.0) + swings(9.0, 0.56))
    half = FRAMES // 2
    rotations = assemble(pelvis_rotation, chest, head, (leg, leg.mirrored(half)), (arm, arm.mirrored(half)))
    bears = phase <= TOE_OFF
    contacts = np.stack((bears, np.roll(bears, half)), axis=1)
    return MotionClip(
        "walk",
        HUMANOID.skeleton,
        FRAME_RATE,
        np.concatenate((pelvis, pelvis[:1] + [STRIDE, 0.0, 0.0])),
        np.concatenate((rotations, rotations[:1])),
        loop="wrap",
        contacts=np.concatenate((contacts, contacts[:1])),
        provenance=PROVENANCE,
    )
