"""Sketches of acrobatics: backflip, frontflip, cartwheel."""

from __future__ import annotations

from mprl.motion.clips.keyposes import STAND, Arm, Leg, Pose, both, pose, through, times
from mprl.motion.clips.sketch import Sketch, Weights

OFF, DOWN, END = 1.1, 1.72, 3.0  # s: the toes leave the floor, touch it again, the end


def backflip(rate: float) -> Sketch:
    """A tucked somersault backward from standing to standing."""
    keys = {
        0.0: STAND,
        0.35: STAND,
        0.87: STAND.but(x=0.0, pitch=32, bend=15, nod=-15, legs=Leg(85, 4, 6, 95), arms=Arm(-50, 10, 15, 5)),
        OFF: STAND.but(x=-0.05, z=0.93, pitch=-18, bend=-15, nod=-15, legs=Leg(-10, 3, 5, 12, 20), arms=Arm(165, 12, 15, 5)),
        1.27: STAND.but(x=-0.12, z=1.22, pitch=-95, bend=20, nod=10, legs=Leg(95, 6, 5, 110, 25), arms=Arm(110, 15, 30, 5)),
        1.43: STAND.but(x=-0.18, z=1.32, pitch=-190, bend=30, nod=15, legs=Leg(118, 6, 5, 125, 25), arms=Arm(85, 12, 45, 5)),
        1.58: STAND.but(x=-0.24, z=1.20, pitch=-275, bend=20, nod=5, legs=Leg(85, 6, 5, 90, 20), arms=Arm(60, 15, 30, 5)),
        DOWN: STAND.but(x=-0.32, z=0.88, pitch=-338, bend=10, legs=Leg(45, 5, 6, 40, 15), arms=Arm(50, 20, 20, 5)),
        1.97: STAND.but(x=-0.34, z=0.62, pitch=-328, bend=12, nod=-10, legs=Leg(88, 8, 8, 95, 20), arms=Arm(60, 20, 20, 5)),
        2.72: STAND.but(x=-0.32, pitch=-358),
        END: STAND.but(x=-0.32, pitch=-358),
    }
    # a late crouch and a cost on the floor's force: otherwise the push is one blow of 15 body weights
    return Sketch(through(keys, times(END, rate)), rate, _feet(), weights=Weights(contact=60.0))


def frontflip(rate: float) -> Sketch:
    """A tucked somersault forward from standing to standing."""
    keys = {
        0.0: STAND,
        0.25: STAND,
        0.75: STAND.but(x=0.0, pitch=25, bend=12, nod=-15, legs=Leg(75, 4, 6, 85), arms=Arm(60, 12, 25, 5)),
        OFF: STAND.but(x=0.06, z=0.93, pitch=12, bend=5, legs=Leg(-2, 3, 5, 10, 30), arms=Arm(165, 12, 15, 5)),
        1.27: STAND.but(x=0.18, z=1.22, pitch=85, bend=35, nod=20, legs=Leg(90, 6, 5, 110, 25), arms=Arm(90, 15, 50, 5)),
        1.43: STAND.but(x=0.28, z=1.32, pitch=185, bend=40, nod=25, legs=Leg(122, 6, 5, 130, 25), arms=Arm(70, 12, 60, 5)),
        1.58: STAND.but(x=0.38, z=1.20, pitch=285, bend=30, nod=15, legs=Leg(90, 6, 5, 95, 20), arms=Arm(70, 15, 40, 5)),
        DOWN: STAND.but(x=0.46, z=0.88, pitch=346, bend=15, legs=Leg(42, 5, 6, 35, 5), arms=Arm(70, 25, 20, 5)),
        1.97: STAND.but(x=0.55, z=0.62, pitch=385, bend=15, nod=-10, legs=Leg(90, 8, 8, 98), arms=Arm(40, 25, 20, 5)),
        2.72: STAND.but(x=0.62, pitch=362),
        END: STAND.but(x=0.62, pitch=362),
    }
    return Sketch(through(keys, times(END, rate)), rate, _feet())


def _feet() -> dict[str, list[tuple[float, float]]]:
    return {**both(foot=[(0, OFF - 0.10), (DOWN + 0.06, END)], toe=[(0, OFF), (DOWN, END)])}  # type: ignore[dict-item]


def cartwheel(rate: float) -> Sketch:
    """A cartwheel to the left: foot, hand, hand, foot, foot."""
    end, long = 83 / 30, Arm(0, 168, 5, 0)
    star = pose(legs=Leg(3, 20, 10, 6), arms=Arm(0, 140, 8, 0))
    start: Pose = pose(legs=Leg(5, 6, 8, 10), arms=Arm(0, 160, 8, 0))
    split = Leg(3, 62, 10, 4, 10)
    keys = {
        0.0: start,
        0.2: start,
        0.65: star.but(y=0.18, z=0.74, roll=-28, side=-8, left_leg=Leg(15, 30, 20, 38), right_leg=Leg(3, 40, 10, 4), arms=long),
        0.95: star.but(y=0.42, z=0.66, roll=-80, side=-20, left_leg=Leg(10, 30, 15, 25, 10), right_leg=split, arms=long),
        1.3: star.but(y=0.85, z=1.04, roll=-180, legs=Leg(3, 52, 5, 4, 10), arms=Arm(0, 165, 4, 0)),
        1.65: star.but(y=1.28, z=0.68, roll=-278, side=20, right_leg=Leg(10, 30, 15, 25, 10), left_leg=split, arms=long),
        1.95: star.but(y=1.52, z=0.74, roll=-332, side=8, right_leg=Leg(15, 30, 20, 38), left_leg=Leg(3, 40, 10, 4), arms=long),
        2.4: star.but(y=1.70, roll=-360),
        end: star.but(y=1.70, roll=-360),
    }
    contacts = {
        "right_foot": [(0, 0.42), (1.78, end)],
        "right_toe": [(0, 0.50), (1.72, end)],
        "left_foot": [(0, 0.22), (0.50, 0.88), (2.15, end)],
        "left_toe": [(0, 0.28), (0.48, 1.00), (2.10, end)],
        "left_hand": [(0.92, 1.42)],
        "right_hand": [(1.16, 1.70)],
    }
    return Sketch(through(keys, times(end, rate)), rate, contacts)
