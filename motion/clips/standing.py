"""Sketches of what is done on the spot, from standing to standing: squat, balance, turn, kicks, jump, and a dance."""

from __future__ import annotations

from mprl.motion.clips.keyposes import STAND, Arm, Leg, Pose, both, through, times
from mprl.motion.clips.sketch import Sketch
from mprl.motion.clips.supports import Intervals


def squat(rate: float) -> Sketch:
    """A deep squat, arms ahead."""
    down = STAND.but(x=0.0, pitch=25, bend=15, nod=-20, legs=Leg(105, 14, 18, 105), arms=Arm(120, 10, 10, 5))
    keys = {0.0: STAND, 0.3: STAND, 1.3: down, 1.6: down, 2.6: STAND, 2.9: STAND}
    return Sketch(through(keys, times(2.9, rate)), rate, both(foot=[(0, 2.9)]))


def balance(rate: float) -> Sketch:
    """Standing on the left leg for a second, arms spread."""
    shift = STAND.but(y=0.08, arms=Arm(0, 30, 12, 5), right_leg=Leg(15, 3, 5, 32, 20))
    one = STAND.but(y=0.085, roll=-2, arms=Arm(0, 80, 8, 5), right_leg=Leg(75, 8, 20, 85, 15), left_leg=Leg(5, 2, 5, 10))
    keys = {0.0: STAND, 0.3: STAND, 0.9: shift, 1.6: one, 2.8: one, 3.5: shift, 4.1: STAND, 4.4: STAND}
    contacts: dict[str, Intervals] = {"left_foot": [(0, 4.4)], "right_foot": [(0, 0.8), (3.6, 4.4)], "right_toe": [(0, 0.95), (3.5, 4.4)]}
    return Sketch(through(keys, times(4.4, rate)), rate, contacts)


def turn(rate: float) -> Sketch:
    """A turn to the left by a right angle, in three steps."""
    start = STAND.but(x=0.0)

    def key(yaw: float, y: float, out: tuple[float, float], knees: tuple[float, float], look: float) -> Pose:
        legs = {f"{side}_leg": Leg(knee - 7, 2, 5 + o, knee) for side, o, knee in zip(("left", "right"), out, knees, strict=True)}
        return start.but(yaw=yaw, y=y, look=look, twist=look / 2, **legs)

    keys = {
        0.0: start,
        0.2: start,
        0.45: key(6, -0.06, (0, 0), (15, 15), 15),
        0.7: key(22, -0.06, (30, 0), (45, 15), 25),
        0.95: key(42, 0.0, (15, -35), (15, 15), 20),
        1.2: key(66, 0.045, (-5, 5), (15, 45), 10).but(x=0.02),
        1.45: key(82, 0.03, (-25, 5), (15, 15), 5),
        1.7: key(88, -0.06, (0, 0), (40, 15), 0).but(x=-0.02),
        2.0: start.but(yaw=90),
        2.7: start.but(yaw=90),
    }
    contacts = {
        "right_foot": [(0, 0.98), (1.36, 2.7)],
        "right_toe": [(0, 1.04), (1.36, 2.7)],
        "left_foot": [(0, 0.5), (0.88, 1.46), (1.84, 2.7)],
        "left_toe": [(0, 0.56), (0.88, 1.54), (1.84, 2.7)],
    }
    return Sketch(through(keys, times(2.7, rate)), rate, contacts)


def kick(rate: float) -> Sketch:
    """A front kick of the right leg at the height of the hips, from a guard."""
    guard = STAND.but(right_arm=Arm(40, 8, 105, 25), left_arm=Arm(48, 8, 105, 25))
    shift = guard.but(y=0.075, roll=-1, right_leg=Leg(14, 4, 5, 30, 15))
    drawn = {"right_leg": Leg(92, 2, 5, 112, 10), "left_leg": Leg(10, 2, 8, 16), "right_arm": {"swing": 10, "out": 18, "elbow": 75}}
    drawn_up = guard.but(y=0.08, x=0.01, pitch=-6, roll=-3, **drawn)
    kicks = {"right_leg": Leg(88, 4, 2, 8, 5), "left_leg": Leg(-6, 2, 12, 14), "right_arm": {"swing": -15, "out": 25, "elbow": 50}}
    out = guard.but(y=0.085, x=0.0, yaw=8, pitch=-20, roll=-4, bend=8, nod=8, **kicks)
    keys = {0.0: STAND, 0.2: STAND, 0.55: guard.but(y=0.02), 0.85: shift, 1.15: drawn_up, 1.36: out, 1.44: out}
    keys |= {1.68: drawn_up, 2.05: shift, 2.4: guard, 2.8: STAND, 3.0: STAND}
    contacts: dict[str, Intervals] = {"left_foot": [(0, 3)], "right_foot": [(0, 0.75), (2.1, 3)], "right_toe": [(0, 0.9), (2.05, 3)]}
    return Sketch(through(keys, times(3.0, rate)), rate, contacts)


def spinkick(rate: float) -> Sketch:
    """A spinning back kick of the right leg: once around to the right in six steps, from a guard to a guard.

    The kick is half-way, behind and a little above the knee, towards where the guard faces.
    """
    guard = STAND.but(x=0.0, right_arm=Arm(40, 8, 105, 25), left_arm=Arm(48, 8, 105, 25))

    def step(yaw: float, at: tuple[float, float], turns: tuple[float, float], knees: tuple[float, float], look: float = -20.0) -> Pose:
        """On the way around: how far the left and the right leg are turned outward, and the bends of their knees."""
        both_legs = zip(("left", "right"), turns, knees, strict=True)
        legs = {f"{side}_leg": Leg(0.55 * knee, 3, turned, knee) for side, turned, knee in both_legs}
        return guard.but(yaw=yaw, x=at[0], y=at[1], look=look, twist=look / 3, **legs)

    drawn = {"look": -50, "twist": -15, "pitch": 22, "bend": 10, "right_leg": Leg(65, 2, 5, 110, 10), "left_leg": Leg(34, 2, 15, 26)}
    kicks = {"look": -50, "twist": -12, "tilt": 8, "pitch": 52, "bend": 6, "nod": -25, "left_leg": Leg(58, 2, 14, 18)}
    out = guard.but(yaw=-184, x=0.05, y=-0.275, right_leg=Leg(-32, 4, 5, 6, -5), **kicks)
    keys = {
        0.0: guard,
        0.2: guard,
        0.42: step(-5, (0.0, 0.06), (5, 5), (18, 18)),
        0.60: step(-24, (0.0, 0.06), (28, 35), (18, 45)),
        0.80: step(-46, (0.0, 0.0), (48, 45), (20, 18)),
        1.00: step(-95, (0.0, -0.085), (-20, 2), (48, 18)),
        1.20: step(-135, (0.0, -0.15), (-28, -38), (18, 20), -35),
        1.38: step(-166, (0.0, -0.25), (3, -50), (20, 35), -45),
        1.62: guard.but(yaw=-178, x=0.02, y=-0.27, **drawn),
        1.86: out,
        1.93: out,
        2.15: guard.but(yaw=-193, x=0.03, y=-0.27, **drawn),
        2.38: step(-220, (0.05, -0.24), (52, 45), (20, 20), -35),
        2.60: step(-268, (0.15, -0.20), (-20, 2), (48, 18), -30),
        2.80: step(-308, (0.15, -0.14), (-28, -38), (18, 20)),
        2.98: step(-340, (0.11, -0.05), (5, 15), (18, 42), -10),
        3.20: step(-357, (0.11, -0.11), (5, 5), (16, 16), 0),
        3.5: guard.but(yaw=-360, x=0.11, y=-0.13),
        3.8: guard.but(yaw=-360, x=0.11, y=-0.13),
    }
    contacts: dict[str, Intervals] = {
        "right_foot": [(0, 0.40), (0.78, 1.26), (2.36, 2.84), (3.16, 3.8)],
        "right_toe": [(0, 0.46), (0.76, 1.36), (2.34, 2.90), (3.14, 3.8)],
        "left_foot": [(0, 0.82), (1.20, 2.40), (2.80, 3.8)],
        "left_toe": [(0, 0.88), (1.18, 2.46), (2.78, 3.8)],
    }
    return Sketch(through(keys, times(3.8, rate)), rate, contacts)


def jump_in_place(rate: float) -> Sketch:
    """A jump straight up, in the air for half a second."""
    off, down = 1.0, 1.46
    keys = {
        0.0: STAND,
        0.25: STAND,
        0.7: STAND.but(x=0.0, pitch=30, bend=15, nod=-15, legs=Leg(80, 4, 6, 90), arms=Arm(-45, 10, 20, 5)),
        off: STAND.but(z=0.95, pitch=5, legs=Leg(4, 2, 5, 8, 25), arms=Arm(130, 10, 20, 5)),
        0.5 * (off + down): STAND.but(z=1.12, pitch=5, nod=5, legs=Leg(20, 2, 5, 30, 30), arms=Arm(140, 15, 25, 5)),
        down: STAND.but(z=0.90, pitch=8, legs=Leg(20, 3, 5, 25, 10), arms=Arm(90, 20, 25, 5)),
        down + 0.22: STAND.but(x=0.0, pitch=25, bend=12, nod=-10, legs=Leg(70, 6, 8, 80), arms=Arm(30, 25, 25, 5)),
        down + 0.9: STAND,
        2.6: STAND,
    }
    contacts = both(foot=[(0, off - 0.12), (down + 0.08, 2.6)], toe=[(0, off), (down, 2.6)])
    return Sketch(through(keys, times(2.6, rate)), rate, contacts)


def dance(rate: float) -> Sketch:
    """A dance step to the left and to the right, one arm up, then both hands together; a cycle."""
    period, arms = 2.4, Arm(20, 30, 90, 30)
    middle = STAND.but(x=0.0)
    together = middle.but(y=-0.03, right_leg=Leg(16, 8, 8, 30), left_leg=Leg(20, 6, 6, 40), arms=arms)
    reach = {"left_leg": Leg(16, 8, 8, 30), "right_leg": Leg(6, 20, 6, 10, None, 5), "left_arm": Arm(10, 35, 80, 30)}
    left = middle.but(y=0.16, yaw=8, roll=-3, side=6, twist=12, right_arm=Arm(0, 150, 35, -20), **reach)
    touch = {"left_leg": Leg(24, 3, 8, 44), "right_leg": Leg(28, 2, 6, 62, 10), "arms": Arm(35, 15, 100, 40)}
    closed = middle.but(y=0.17, yaw=-8, roll=3, side=-8, **touch)
    keys = {0.0: together, 0.4: left, 0.9: closed, 1.2: together.mirrored(), 1.6: left.mirrored(), 2.1: closed.mirrored(), period: together}
    contacts = {
        "right_foot": [(0, 0.5), (1.45, period)],
        "right_toe": [(0, 0.56), (0.86, 1.14), (1.40, period)],
        "left_foot": [(0.25, 1.7)],
        "left_toe": [(0.2, 1.76), (2.06, 2.34)],
    }
    return Sketch(through(keys, times(period, rate), loop=True), rate, contacts, loop=True)
