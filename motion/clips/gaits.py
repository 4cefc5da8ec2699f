"""Sketches of ways to get about: cycles along +x (the side-step along +y), and the curves of joint angles they start from.

The right foot strikes at 0, the left one half a cycle later, mirrored. Joint angles of walking are Winter's (Biomechanics and Motor
Control of Human Movement, 4th ed., 2009, natural cadence), of running Novacheck's (The biomechanics of running, 1998), read off at
tenths of the cycle; the optimisation is free to depart from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.interpolate import CubicSpline

from mprl.motion.clips.keyposes import STAND, Arm, Leg, Pose, pose, poses, through, times
from mprl.motion.clips.sketch import Sketch
from mprl.motion.clips.supports import Intervals

# Degrees at 0, .1, ..., 1 of the cycle: the thigh forward, the knee bent, the toes up.
Curves = Mapping[str, Sequence[float]]
WALKING: Curves = {
    "hip": (21, 16.5, 10.5, 4, -2.5, -8.5, -8, 5, 17, 22, 21),
    "knee": (6, 17, 19, 14, 9, 13, 38, 62, 48, 15, 6),
    "ankle": (0, -5, 2, 6, 9.5, 6, -17, -8, 1, 1, 0),
}
RUNNING: Curves = {
    "hip": (32, 29, 18, 3, -8, -2, 18, 38, 48, 42, 32),
    "knee": (20, 38, 42, 28, 18, 45, 88, 98, 68, 28, 20),
    "ankle": (6, 16, 22, 8, -18, -16, -2, 4, 4, 4, 6),
}


def walk_slow(rate: float) -> Sketch:
    """A slow walk, .7 m/s: long stances, hardly any arm swing."""
    contacts = {"heel": [(0.0, 0.08)], "foot": [(0.08, 0.40)], "toe": [(0.40, 0.64)]}
    return _gait(rate, 1.4, 0.98, WALKING, contacts, height=0.865, bob=0.012, arms=(14.0, 20.0))


def walk_brisk(rate: float) -> Sketch:
    """A brisk walk, 1.65 m/s: long steps, bent arms that swing."""
    curves = {**WALKING, "hip": [1.12 * angle for angle in WALKING["hip"]]}
    contacts = {"heel": [(0.0, 0.07)], "foot": [(0.07, 0.34)], "toe": [(0.34, 0.59)]}
    return _gait(rate, 14 / 15, 1.54, curves, contacts, lean=5.0, height=0.85, bob=0.02, arms=(32.0, 40.0))


def walk_backward(rate: float) -> Sketch:
    """A walk backwards, .7 m/s: a walk played backwards, with shorter steps, toes first."""
    curves = {joint: [(0.8 if joint == "hip" else 1.0) * angle for angle in reversed(angles)] for joint, angles in WALKING.items()}
    contacts = {"toe": [(0.36, 0.60)], "foot": [(0.60, 0.92)], "heel": [(0.92, 0.99)]}
    return _gait(rate, 1.2, -0.85, curves, contacts, height=0.86, bob=0.02, arms=(12.0, 20.0))


def jog(rate: float) -> Sketch:
    """An easy run, 2.3 m/s."""
    contacts = {"heel": [(0.0, 0.22)], "foot": [(0.04, 0.22)], "toe": [(0.04, 0.38)]}
    return _gait(rate, 11 / 15, 1.7, RUNNING, contacts, lean=6.0, height=0.85, bob=-0.03, arms=(35.0, 85.0))


def run(rate: float) -> Sketch:
    """A run, 3.3 m/s, in the air for a third of the time."""
    curves = {joint: [(1.0 if joint == "ankle" else 1.15) * angle for angle in angles] for joint, angles in RUNNING.items()}
    contacts = {"heel": [(0.0, 0.20)], "foot": [(0.04, 0.20)], "toe": [(0.04, 0.32)]}
    return _gait(rate, 2 / 3, 2.2, curves, contacts, lean=9.0, height=0.85, bob=-0.03, arms=(45.0, 95.0))


def _gait(
    rate: float,
    period: float,
    stride: float,
    curves: Curves,
    contacts: Mapping[str, Intervals],
    *,
    lean: float = 3.0,
    height: float,
    bob: float,
    arms: tuple[float, float],
) -> Sketch:
    """A symmetric gait.

    Args:
        rate: frames per second. period: of a cycle, s. stride: m a cycle.
        contacts: when parts of the right foot bear, in cycles.
        lean: of the trunk, degrees. height, bob: of the pelvis, m. arms: their swing and the bend of the elbows, degrees.
    """
    at = {joint: CubicSpline(np.linspace(0, 1, len(angles)), angles, bc_type="periodic") for joint, angles in curves.items()}

    def leg(phase: float) -> Leg:
        hip, knee, ankle = (float(at[joint](phase % 1)) for joint in ("hip", "knee", "ankle"))
        return Leg(hip + lean, 0.5, 5.0, knee, -ankle)

    def arm(phase: float) -> Arm:
        return Arm(arms[0] * np.cos(2 * np.pi * phase), 9.0, arms[1] + 8 * np.cos(2 * np.pi * (phase - 0.04)), 12.0)

    rows = []
    for phase in times(period, rate) / period:
        turned = float(np.cos(2 * np.pi * phase))
        up = height - bob * float(np.cos(4 * np.pi * (phase - 0.045)))
        whole = pose(x=stride * phase, z=up, yaw=5 * turned, pitch=lean, twist=-9 * turned, right_leg=leg(phase), left_leg=leg(phase + 0.5))
        rows.append(whole.but(right_arm=arm(phase - 0.52), left_arm=arm(phase - 0.02)).vector())
    both = {
        f"{side}_{part}": [((first + lag) * period, (last + lag) * period) for first, last in spans for lag in (late - 1, late, late + 1)]
        for part, spans in contacts.items()
        for side, late in (("right", 0.0), ("left", 0.5))
    }
    return Sketch(poses(np.array(rows)), rate, both, loop=True)


def sidestep(rate: float) -> Sketch:
    """Side-steps to the left, .3 m/s: the left foot steps out, the right one closes."""
    period, step = 1.2, 0.36
    closed = STAND.but(x=0.0, legs=Leg(14, 2, 4, 26), arms=Arm(0, 14, 25, 8))
    keys = {
        0.0: closed.but(y=-0.02),
        0.3: closed.but(y=0.02, left_leg=Leg(24, 16, 4, 44)),
        0.6: closed.but(y=step / 2, legs=Leg(14, 13, 4, 26)),
        0.9: closed.but(y=step - 0.02, right_leg=Leg(24, 13, 4, 44)),
        period: closed.but(y=step - 0.02),
    }
    contacts = {
        "right_foot": [(0, 0.66), (1.1, period)],
        "right_toe": [(0, 0.72), (1.06, period)],
        "left_foot": [(0, 0.06), (0.5, period)],
        "left_toe": [(0, 0.12), (0.46, period)],
    }
    return Sketch(through(keys, times(period, rate), loop=True), rate, contacts, loop=True)


def hop(rate: float) -> Sketch:
    """Hops forward on the right leg, .5 m/s."""
    period = 0.7

    def key(x: float, z: float, flex: float, knee: float, swing: float, other: float = 60.0, toes: float | None = None) -> Pose:
        legs = {"right_leg": Leg(flex, -2, 3, knee, toes), "left_leg": Leg(20 + other / 6, 3, 5, other)}
        return pose(x=x, y=0.05, z=z, pitch=8, roll=1, arms=Arm(swing, 18, 70, 10), **legs)

    keys = {
        0.0: key(0.0, 0.87, 22, 28, 40),
        0.14: key(0.07, 0.80, 34, 55, -10),
        0.32: key(0.16, 0.90, 2, 12, 50, 75, 15),
        0.5: key(0.26, 0.96, 16, 28, 60, 80, 15),
        period: key(0.36, 0.87, 22, 28, 40),
    }
    contacts = {"right_foot": [(0.03, 0.26)], "right_toe": [(0, 0.32), (period, period)]}
    return Sketch(through(keys, times(period, rate), loop=True), rate, contacts, loop=True)
