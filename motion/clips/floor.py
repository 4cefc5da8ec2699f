"""Sketches of what is done on the floor: getting up from the back and from the front, crawling."""

from __future__ import annotations

from mprl.motion.clips.keyposes import STAND, Arm, Leg, Pose, both, pose, through, times
from mprl.motion.clips.sketch import Sketch


def getup_back(rate: float) -> Sketch:
    """From lying on the back to standing: the feet drawn up, a sit-up that rocks on over them, a squat."""
    end = 4.0
    lie = pose(x=-0.33, z=0.09, pitch=-90, legs=Leg(4, 5, 8, 8, 10), arms=Arm(0, 22, 10, 5))
    keys = {
        0.0: lie,
        0.3: lie,
        1.1: pose(x=-0.33, z=0.09, pitch=-90, bend=12, nod=25, legs=Leg(62, 7, 8, 118, 30), arms=Arm(15, 20, 10, 5)),
        1.75: pose(x=-0.31, z=0.06, pitch=-30, bend=35, nod=10, legs=Leg(105, 9, 8, 135), arms=Arm(75, 15, 15, 5)),
        2.15: pose(x=-0.26, z=0.07, pitch=15, bend=42, nod=-5, legs=Leg(135, 12, 10, 146), arms=Arm(95, 15, 15, 5)),
        2.45: pose(x=-0.17, z=0.24, pitch=38, bend=40, nod=-15, legs=Leg(138, 14, 12, 142), arms=Arm(110, 15, 15, 5)),
        3.0: STAND.but(x=-0.06, pitch=32, bend=20, nod=-20, legs=Leg(100, 12, 10, 105), arms=Arm(60, 12, 15, 5)),
        3.7: STAND,
        end: STAND,
    }
    contacts = both(heel=[(0, 0.35)], foot=[(1.0, end)], hand=[(0, 0.5)])
    contacts |= {"pelvis": [(0, 2.28)], "chest": [(0, 1.05)], "head": [(0, 0.6)]}
    return Sketch(through(keys, times(end, rate)), rate, contacts)


def getup_front(rate: float) -> Sketch:
    """From lying on the front to standing: pushed up to hands and knees, the right foot between the hands, up, the left foot to it."""
    end = 4.5
    prone = pose(z=0.09, pitch=90, nod=-20, legs=Leg(2, 5, 4, 6, 75), arms=Arm(0, 80, 85, -75))
    four = pose(x=-0.32, z=0.46, pitch=75, nod=-25, legs=Leg(75, 6, 4, 88, 50), arms=Arm(78, 8, 10, 0))
    lunge = {"right_leg": Leg(135, 14, 4, 118), "left_leg": Leg(52, 6, 4, 75, -25)}
    kneel = {"right_leg": Leg(108, 6, 4, 92), "left_leg": Leg(12, 4, 4, 85, -25), "arms": Arm(35, 15, 30, 5)}
    rise = {"right_leg": Leg(92, 3, 4, 80), "left_leg": Leg(15, 4, 4, 55, -25), "arms": Arm(30, 15, 30, 5)}
    close = {"right_leg": Leg(45, 1, 4, 42), "left_leg": Leg(38, 3, 4, 65, 0), "arms": Arm(10, 12, 20, 5)}
    keys = {
        0.0: prone,
        0.3: prone,
        0.9: pose(x=-0.15, z=0.28, pitch=72, bend=-8, nod=-25, legs=Leg(35, 6, 4, 55, 60), arms=Arm(95, 40, 60, -40)),
        1.4: four,
        1.85: four.but(x=-0.28, y=0.03, z=0.50, right_leg=Leg(125, 14, 4, 130, 10), left_leg=Leg(70, 6, 4, 82, -20)),
        2.2: four.but(x=-0.20, y=0.02, z=0.52, pitch=70, bend=15, **lunge),
        2.75: pose(x=-0.12, z=0.50, pitch=25, bend=12, nod=-8, **kneel),
        3.15: pose(x=0.0, y=-0.03, z=0.62, pitch=28, bend=10, nod=-8, **rise),
        3.6: pose(x=0.16, y=-0.06, z=0.78, pitch=12, bend=4, **close),
        4.2: STAND.but(x=0.25),
        end: STAND.but(x=0.25),
    }
    contacts = both(hand=[(0, 2.35)])
    contacts |= {"pelvis": [(0, 0.45)], "chest": [(0, 0.4)], "right_knee": [(0, 1.55)], "left_knee": [(0, 2.95)]}
    contacts |= {"left_toe": [(2.1, 3.35), (3.78, end)], "right_foot": [(2.15, end)], "left_foot": [(3.82, end)]}
    return Sketch(through(keys, times(end, rate)), rate, contacts)


def crawl(rate: float) -> Sketch:
    """On hands and knees along +x, .37 m/s, the left hand with the right knee; a cycle."""
    period, step, swing = 1.2, 0.44, 14.0

    def key(at: float, left: float, right: float, knees: tuple[float, float] = (88, 88), elbows: tuple[float, float] = (12, 12)) -> Pose:
        """The thighs' angles from upright; the arms do the opposite."""
        legs = {"left_leg": Leg(76 + left, 6, 2, knees[0], 55), "right_leg": Leg(76 + right, 6, 2, knees[1], 55)}
        arms = {"left_arm": Arm(80 - left, 8, elbows[0], 0), "right_arm": Arm(80 - right, 8, elbows[1], 0)}
        return pose(x=at * step, z=0.455, pitch=76, nod=-30, **legs, **arms)

    keys = {
        0.0: key(0.0, -swing, swing),
        0.3: key(0.25, 0, 0, (104, 88), (12, 40)),
        0.6: key(0.5, swing, -swing),
        0.9: key(0.75, 0, 0, (88, 104), (40, 12)),
        period: key(1.0, -swing, swing),
    }
    contacts = {
        "left_knee": [(0, 0.08), (0.5, period)],
        "right_hand": [(0, 0.04), (0.46, period)],
        "right_knee": [(0, 0.68), (1.1, period)],
        "left_hand": [(0, 0.64), (1.06, period)],
    }
    return Sketch(through(keys, times(period, rate), loop=True), rate, contacts, loop=True)


def roll(rate: float) -> Sketch:
    """A roll forward from standing to standing: hands, upper back, seat, feet."""
    end = 3.6
    rock = pose(x=1.16, z=0.08, pitch=368, bend=45, legs=Leg(137, 13, 8, 146, 0), arms=Arm(95, 15, 20, 0))
    keys = {
        0.0: STAND,
        0.2: STAND,
        0.85: STAND.but(x=0.05, pitch=35, bend=30, legs=Leg(125, 16, 12, 130), arms=Arm(75, 14, 15, 0)),
        1.2: pose(x=0.22, z=0.50, pitch=95, bend=45, nod=35, legs=Leg(115, 14, 8, 110, 10), arms=Arm(100, 14, 40, 0)),
        1.5: pose(x=0.50, z=0.50, pitch=165, bend=55, nod=50, legs=Leg(115, 10, 5, 105, 20), arms=Arm(125, 25, 85, 0)),
        1.75: pose(x=0.80, z=0.30, pitch=230, bend=55, nod=45, legs=Leg(125, 10, 5, 120, 20), arms=Arm(80, 15, 40, 0)),
        2.0: pose(x=1.04, z=0.10, pitch=300, bend=50, nod=25, legs=Leg(130, 12, 8, 138, 10), arms=Arm(85, 15, 30, 0)),
        2.2: rock,
        2.45: pose(x=1.26, z=0.25, pitch=396, bend=38, nod=-10, legs=Leg(137, 14, 10, 142), arms=Arm(110, 15, 15, 0)),
        3.25: STAND.but(x=1.43, pitch=362),
        end: STAND.but(x=1.43, pitch=362),
    }
    contacts = both(foot=[(0, 1.1), (2.15, end)], toe=[(0, 1.3), (2.1, end)], hand=[(1.1, 1.55)])
    contacts |= {"chest": [(1.5, 1.92)], "pelvis": [(1.82, 2.32)]}
    return Sketch(through(keys, times(end, rate)), rate, contacts)
