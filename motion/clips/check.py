"""How plausible a clip of the humanoid is: `python -m mprl.motion.clips.check [CLIP ...]`, of all shipped clips where none is named.

Figures of a motion that nobody recorded have to be as good as mechanics; those of recorded ones are for scale.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

import mujoco
import numpy as np
from numpy.typing import NDArray

from mprl.motion import load, motions
from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clip import MotionClip
from mprl.motion.clips.keyposes import limits
from mprl.motion.clips.pose import dynamics
from mprl.motion.clips.problem import Problem
from mprl.motion.clips.sketch import Sketch, Weights
from mprl.motion.clips.supports import Array, all_supports, overlap_pairs
from mprl.motion.contacts import body_clearance, label_contacts

GRAVITY = 9.81
WEIGHT = GRAVITY * float(HUMANOID.model.body_subtreemass[1])
NEAR = 0.005  # m: what is lower bears


@dataclass(frozen=True)
class Plausibility:
    """Figures of one clip; the worst frame where nothing else is said.

    Attributes:
        slide: of the least moving touching point of a bearing foot between two frames, mm. sink: into the floor, mm.
        flight: share of the frames in which nothing touches the floor.
        gravity: acceleration of the centre of mass in flight, its greatest distance from g, in g.
        spin: change of the angular momentum over a flight, kg m²/s.
        hand: force that no touching point can give, in body weights: the hand from the sky. Mean and 95th percentile over all frames.
        twist: the same of the moment, N m (95th percentile).
        lean: of the centre of mass beyond the support where the body is still (slower than .05 m/s), mm.
        limit: beyond the joints' limits, degrees. overlap: of limbs with each other, mm.
        torque: joint torque, damping left out, in its limit: 95th percentile of the frames' greatest. saturated: share of frames and
            joints beyond the limit.
        push: of the floor upwards, body weights; people reach 2 to 4 where they jump off, and more where they land.
        speed: of a joint, rad/s. jitter: mean of the body's third differences of position, m/s³.
    """

    slide: float
    sink: float
    flight: float
    gravity: float
    spin: float
    hand: float
    hand95: float
    twist: float
    lean: float
    limit: float
    overlap: float
    torque: float
    saturated: float
    push: float
    speed: float
    jitter: float


def check(clip: MotionClip) -> Plausibility:
    """The figures of a clip."""
    qpos = HUMANOID.to_qpos(clip).numpy()
    looped = clip.loop == "wrap"
    labelled = clip if clip.contacts is not None else label_contacts(clip, HUMANOID)
    # a problem whose supports bear where they touch; light costs of torques, so that it tells only what the floor cannot give
    near = NEAR if clip.contacts is not None else 0.055
    problem = Problem(Sketch(qpos, clip.frame_rate, {}, looped, friction=0.9, weights=Weights(torque=1e3)))
    points, radii = _points(qpos)
    problem.bears = (points[..., 2] - radii < near)[: problem.frames]
    problem.cost(qpos[: problem.frames])
    asked = dynamics(clip)
    air: NDArray[np.bool_] = np.atleast_1d(~problem.bears.any(axis=1))
    gravity, spin = _flight(asked.com, asked.momentum, air, clip.frame_rate)
    torque = np.abs(problem.torque[:, 6:]) / problem.mechanics.torque_limit[6:]
    forces = np.linalg.norm(problem.torque[:, :3], axis=1) / WEIGHT
    moments = np.linalg.norm(problem.torque[:, 3:6], axis=1)
    value = problem.coordinates(qpos[: problem.frames])
    low, high = limits().T
    beyond = np.maximum(low - value, 0) + np.maximum(value - high, 0)
    body = body_positions(qpos)
    return Plausibility(
        slide=_slide(points, radii, labelled, near) * 1e3,
        sink=max(0.0, -float(body_clearance(HUMANOID, qpos).min())) * 1e3,
        flight=float(air.mean()),
        gravity=gravity,
        spin=spin,
        hand=float(forces.mean()),
        hand95=float(np.percentile(forces, 95)),
        twist=float(np.percentile(moments, 95)),
        lean=_lean(asked.com[: problem.frames], points[: problem.frames], problem.bears, clip.frame_rate) * 1e3,
        limit=float(np.degrees(beyond.max())),
        overlap=_overlap(qpos) * 1e3,
        torque=float(np.percentile(torque.max(axis=1), 95)),
        saturated=float((torque > 1).mean()),
        push=float(asked.force[:, 2].max()) / WEIGHT,
        speed=float(np.abs(asked.qvel[:, 6:]).max()),
        jitter=float(np.linalg.norm(np.diff(body, n=3, axis=0), axis=-1).mean() * clip.frame_rate**3),
    )


def body_positions(qpos: Array) -> Array:
    """Origins of all bodies, (T, B, 3) m."""
    data = mujoco.MjData(HUMANOID.model)
    found = np.empty((len(qpos), HUMANOID.model.nbody - 1, 3))
    for t, pose in enumerate(qpos):
        data.qpos[:] = pose
        mujoco.mj_kinematics(HUMANOID.model, data)
        found[t] = data.xpos[1:]
    return found


def _points(qpos: Array) -> tuple[Array, Array]:
    """Middles of all supports, (T, S, 3) m, and their radii (S,)."""
    supports, data = all_supports(), mujoco.MjData(HUMANOID.model)
    points = np.empty((len(qpos), len(supports), 3))
    for t, pose in enumerate(qpos):
        data.qpos[:] = pose
        mujoco.mj_kinematics(HUMANOID.model, data)
        for s, support in enumerate(supports):
            points[t, s] = data.xpos[support.body] + data.xmat[support.body].reshape(3, 3) @ support.point
    return points, np.array([support.radius for support in supports])


def _slide(points: Array, radii: Array, clip: MotionClip, near: float) -> float:
    """Of the corner of a bearing foot that moves least between two frames in which it is down, m."""
    worst = 0.0
    assert clip.contacts is not None
    for foot, name in enumerate(HUMANOID.feet):
        body = int(HUMANOID.model.body(name).id)
        columns = [s for s, support in enumerate(all_supports()) if support.body == body]
        corners = points[:, columns]
        down = corners[..., 2] < near
        moved = np.linalg.norm(np.diff(corners[..., :2], axis=0), axis=-1)
        least = np.where(down[1:] & down[:-1], moved, np.inf).min(axis=1)
        bears = clip.contacts[1:, foot] & clip.contacts[:-1, foot] & np.isfinite(least)
        worst = max(worst, float(least[bears].max(initial=0.0)))
    return worst


def _flight(com: Array, momentum: Array, air: NDArray[np.bool_], frame_rate: float) -> tuple[float, float]:
    gravity, spin = 0.0, 0.0
    for frames in np.split(np.flatnonzero(air), np.flatnonzero(np.diff(np.flatnonzero(air)) > 1) + 1):
        if len(frames) < 4:
            continue
        acceleration = np.diff(com[frames], n=2, axis=0) * frame_rate**2 + [0, 0, GRAVITY]
        gravity = max(gravity, float(np.linalg.norm(acceleration, axis=1).max()) / GRAVITY)
        inner = momentum[frames[1:-1]]
        spin = max(spin, float(np.ptp(inner, axis=0).max(initial=0.0)))
    return gravity, spin


def _lean(com: Array, points: Array, bears: NDArray[np.bool_], frame_rate: float) -> float:
    """How far the centre of mass is outside the hull of what bears, where it hardly moves, m."""
    from scipy.optimize import nnls

    speed = np.linalg.norm(np.gradient(com, axis=0), axis=1) * frame_rate
    force = np.linalg.norm(np.gradient(np.gradient(com, axis=0), axis=0), axis=1) * frame_rate**2
    worst = 0.0
    for t in np.flatnonzero((speed < 0.05) & (force < 0.2) & bears.any(axis=1)):
        hull = points[t, bears[t], :2]
        shares, _ = nnls(np.vstack((hull.T, np.full(len(hull), 1e3))), np.append(com[t, :2], 1e3))
        worst = max(worst, float(np.linalg.norm(shares @ hull - com[t, :2])))
    return worst


def _overlap(qpos: Array) -> float:
    model, data = HUMANOID.model, mujoco.MjData(HUMANOID.model)
    worst = 0.0
    for pose in qpos:
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        worst = max(worst, *(-mujoco.mj_geomDistance(model, data, g, h, 0.01, None) for g, h in overlap_pairs()))
    return worst


def main(argv: Sequence[str]) -> None:
    """Print the figures of clips, by name or file."""
    names = [field.name for field in fields(Plausibility)]
    print(f"{'clip':<16}" + "".join(f"{name:>10}" for name in names))
    for motion in argv or motions():
        clip = load(motion)
        found = check(clip)
        print(f"{clip.name[:15]:<16}" + "".join(f"{getattr(found, name):10.3g}" for name in names), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
