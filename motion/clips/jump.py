"""A jump forward from standing to standing, from first principles.

Planned are the path of the centre of mass (a parabola in the air), the feet (which roll over their toes as they leave and as they
land), the trunk and the arms; the pelvis goes where the centre of mass then comes out as planned. In the air nothing can change
the angular momentum, and on the ground the force must act within the feet: what is free in the forward path and in the trunk's
pitch is fitted to that. Dip, arm swing and timing are those of people's countermovement jumps (Bobbert et al. 1996; Lees et al.
2004), at half their height.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BPoly
from scipy.optimize import least_squares
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
    centre_of_mass,
    derivatives,
    dynamics,
    right_arm,
    right_leg,
    rolled,
)

FRAME_RATE = 60.0
GRAVITY = 9.81
WEIGHT = GRAVITY * float(HUMANOID.model.body_subtreemass[1])
DISTANCE = 0.30  # m
TAKE_OFF_SPEED = 1.7  # m/s, upwards
STAND, DIP, TAKE_OFF, LANDING, SINK = 0.888, 0.70, 0.935, 0.885, 0.68  # heights of the centre of mass, m
X_STAND = 0.035  # of the centre of mass ahead of the ankles, m
HALF_STANCE, TOES_OUT = 0.09, np.radians(7.0)  # from the middle to an ankle, m

# Times, s: first movement, lowest point, heels off, in the air; first touch, soles down, lowest point, standing, end.
T_START, T_DIP, T_HEEL_OFF, T_OFF = 0.25, 0.80, 0.95, 1.10
FALL_SPEED = float(np.sqrt(TAKE_OFF_SPEED**2 + 2 * GRAVITY * (TAKE_OFF - LANDING)))
T_DOWN = T_OFF + (TAKE_OFF_SPEED + FALL_SPEED) / GRAVITY
T_FLAT, T_SINK, T_STAND, T_END = T_DOWN + 0.11, T_DOWN + 0.24, T_DOWN + 0.85, T_DOWN + 1.10
TIME = np.arange(round(T_END * FRAME_RATE) + 1) / FRAME_RATE

# Everything below lists (value, first, second derivative) at knots in time.
REST = [0.0, 0.0]
FLAT = [0.0, *REST]
# Pitch of the foot, toes down positive, rad.
FOOT_PITCH = ([T_HEEL_OFF, T_OFF, T_DOWN, T_FLAT], [FLAT, [0.70, 4.5, -40.0], [0.40, -4.5, -50.0], FLAT])
# Forward swing of the upper arms from the chest, and bend of the elbows, rad.
ARM_SWING = (
    [T_START, T_DIP, T_OFF, T_DOWN, T_SINK + 0.1, T_STAND],
    [[0.0, *REST], [-0.6, *REST], [0.8, 3.0, -10.0], [0.8, -2.0, 0.0], [0.3, -1.0, 0.0], [0.0, *REST]],
)
ELBOW = ([T_START, T_DIP, T_OFF, T_DOWN, T_STAND], [[0.3, *REST], [0.35, *REST], [0.8, 1.0, 0.0], [0.7, -1.0, 0.0], [0.3, *REST]])
LEAN = 0.03  # of the trunk, standing, rad
# Acceleration of the ankles as they leave and as they land, m/s^2; how far they are tucked up in between, m.
FOOT_ACCELERATION, TUCK = np.array([0.0, 0.0, 25.0]), np.array([0.0, 0.0, 0.02])

# What is fitted. Centre of mass: x (m), speed, acceleration at the dip, x and speed at take-off, x, speed, acceleration at the sink;
# pitch of the trunk (rad): at the dip, with its rate at take-off, in the middle of the flight and at touch-down, and at the sink.
GUESS = np.array([0.04, 0.10, 0.0, 0.12, 0.45, 0.03, 0.10, 0.0, 0.50, 0.20, -3.0, 0.30, 0.3, 0.05, 0.0, 0.30])
SCALE = np.array([0.05, 0.30, 3.0, 0.05, 0.20, 0.05, 0.30, 3.0, 0.03, 0.10, 0.5, 0.10, 0.5, 0.10, 0.5, 0.03])
FITTED = np.array([0.066, 0.108, -0.893, 0.146, 0.420, 0.032, 0.071, -2.087, 0.462, 0.258, -3.57, 0.360, 0.32, 0.073, -0.362, 0.295])


def jump() -> MotionClip:
    """A jump .3 m forward along +x, at rest at both ends; 60 Hz."""
    return _clip(FITTED)


def fit() -> Array:
    """How `FITTED` was found: constant angular momentum in the air, force within the feet on the ground, near `GUESS`."""
    on_toes = (TIME > T_HEEL_OFF) & (TIME < T_FLAT)
    behind, ahead = np.where(on_toes, TOE[0] - 0.05, HEEL[0] + 0.02), np.where(on_toes, TOE[0], TOE[0] - 0.02)
    inner_air = (TIME > T_OFF + 0.02) & (TIME < T_DOWN - 0.02)

    def misfit(unknown: Array) -> Array:
        asked = dynamics(_clip(unknown))
        point = asked.zero_moment_point[:, 0] - np.where(TIME > T_DOWN, DISTANCE, 0.0)
        # the moment that the feet cannot give, per weight
        moment = (point - np.clip(point, behind, ahead)) * np.maximum(asked.force[:, 2], 0.0) / WEIGHT
        moment = np.where(inner_air, 0.0, np.nan_to_num(moment))
        spin = np.where(inner_air, asked.momentum[:, 1] - asked.momentum[inner_air, 1].mean(), 0.0)
        return np.concatenate((20 * moment, spin, 0.3 * (unknown - GUESS) / SCALE))

    return least_squares(misfit, GUESS, x_scale=SCALE, max_nfev=30).x


def _clip(unknown: Array) -> MotionClip:
    x_dip, v_dip, a_dip, x_off, v_off, x_sink, v_sink, a_sink, *trunk = unknown
    knots = [T_START, T_DIP, T_OFF, T_DOWN, T_SINK, T_STAND]
    up = [[STAND, *REST], [DIP, 0.0, 9.0], [TAKE_OFF, TAKE_OFF_SPEED, -GRAVITY]]
    up += [[LANDING, -FALL_SPEED, -GRAVITY], [SINK, 0.0, 5.0], [STAND, *REST]]
    x_down = x_off + v_off * (T_DOWN - T_OFF)
    forward = [[X_STAND, *REST], [x_dip, v_dip, a_dip], [x_off, v_off, 0.0], [x_down, v_off, 0.0]]
    forward += [[x_sink + DISTANCE, v_sink, a_sink], [X_STAND + DISTANCE, *REST]]
    com = np.stack((_curve(knots, forward), np.zeros_like(TIME), _curve(knots, up)), axis=1)

    dip, off, off_rate, middle, middle_rate, down, down_rate, sunk = trunk
    lean = [[LEAN, *REST], [dip, *REST], [off, off_rate, 0.0], [middle, middle_rate, 0.0]]
    lean += [[down, down_rate, 0.0], [sunk, *REST], [LEAN, *REST]]
    pitch = _curve([T_START, T_DIP, T_OFF, 0.5 * (T_OFF + T_DOWN), T_DOWN, T_SINK, T_STAND], lean)
    pelvis_rotation, chest, head = about("y", 0.8 * pitch), about("y", pitch), about("y", 0.5 * pitch)
    arm = right_arm(_curve(*ARM_SWING), _curve(*ELBOW))
    ankle, foot = _right_foot()
    bears = (TIME < T_OFF) | (TIME >= T_DOWN)

    pelvis = com - [0.0, 0.0, 0.06]  # low, so that the legs are long enough
    for _ in range(8):  # each pass leaves about a tenth of the error
        leg = right_leg(pelvis, pelvis_rotation, ankle, foot)
        rotations = assemble(pelvis_rotation, chest, head, (leg, leg.mirrored()), (arm, arm.mirrored()))
        contacts = np.stack((bears, bears), axis=1)
        clip = MotionClip("jump", HUMANOID.skeleton, FRAME_RATE, pelvis, rotations, contacts=contacts, provenance=PROVENANCE)
        pelvis = pelvis + (com - centre_of_mass(clip)) * [1, 0, 1]
    return clip


def _curve(knots: list[float], values: list[list[float]]) -> Array:
    """The smooth curve through values with their derivatives at the knots, (T,); at rest before the first and after the last."""
    return BPoly.from_derivatives(knots, values)(np.clip(TIME, knots[0], knots[-1]))


def _right_foot() -> tuple[Array, Rotation]:
    """The right ankle (T, 3) m, and the foot's rotation: rolling over the toes on the ground, led from there to there in the air."""
    heading = about("z", -TOES_OUT)
    knots, pitches = FOOT_PITCH
    pitch = BPoly.from_derivatives(knots, pitches)

    def on_toes(at: Array, x: float) -> Array:
        foot = about("zy", -TOES_OUT, pitch(np.clip(at, knots[0], knots[-1])))
        return np.array([x, -HALF_STANCE, 0.0]) + rolled(heading, foot, TOE)

    leave = derivatives(lambda at: on_toes(at, 0.0), T_OFF, -1e-4)
    land = derivatives(lambda at: on_toes(at, DISTANCE), T_DOWN, 1e-4)
    leave[2] = land[2] = FOOT_ACCELERATION
    progress = ((TIME - T_OFF) / (T_DOWN - T_OFF))[:, None]
    flown = BPoly.from_derivatives([T_OFF, T_DOWN], [leave, land])(TIME) + TUCK * 64 * (progress * (1 - progress)) ** 3
    ankle = np.where(progress <= 0, on_toes(TIME, 0.0), np.where(progress >= 1, on_toes(TIME, DISTANCE), flown))
    return ankle, about("zy", -TOES_OUT, pitch(np.clip(TIME, knots[0], knots[-1])))
