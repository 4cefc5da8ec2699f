"""What trajectory optimisation is asked for: a rough motion, when which parts bear on the floor, and how much each requirement weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mprl.motion.clips.keyposes import limits
from mprl.motion.clips.supports import Array, Intervals


@dataclass(frozen=True)
class Weights:
    """How much of each costs one half, at one frame."""

    force: float = 4.0  # N, that no floor can give
    moment: float = 1.5  # N m, likewise
    torque: float = 0.67  # of each joint, in its limits
    contact: float = 1e3  # N of the floor's force: large, it picks one of many distributions
    slide: float = 0.0005  # m between two frames, and height of what bears
    sink: float = 0.002  # m
    limit: float = 0.03  # rad
    overlap: float = 0.004  # m
    jerk: float = 2500.0  # rad/s^3
    angle: float = 0.25  # rad from the sketch, each joint
    place: float = 0.10  # m of the root from the sketch
    turn: float = 0.25  # rad of the root from the sketch


@dataclass(frozen=True)
class Sketch:
    """A rough motion and its contacts.

    Attributes:
        qpos: (T, nq), MuJoCo's. frame_rate: Hz.
        contacts: when each part of the body bears on the floor, s (`supports.parts`).
        loop: the last frame is the first one of the next cycle, apart from the root's displacement. Otherwise the body is at rest
            before and after.
        clearance: of a swinging foot's sole above the floor, m.
        friction: of the floor; the simulation's is .9, the rest is left for balance.
        limits: least and greatest rotation vector components and angles, (nv, 2) rad.
        weights: of the requirements.
    """

    qpos: Array
    frame_rate: float
    contacts: Mapping[str, Intervals]
    loop: bool = False
    clearance: float = 0.015
    friction: float = 0.6
    limits: Array = field(default_factory=limits)
    weights: Weights = field(default_factory=Weights)
