"""Trajectory optimisation: its derivatives are right, and what it finds obeys mechanics, judged by other means."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from mprl.motion import HUMANOID
from mprl.motion.clips.keyposes import STAND, Arm, Leg, limits, pose, through, times, to_clip
from mprl.motion.clips.optimize import optimize, refined
from mprl.motion.clips.problem import Normal, Problem
from mprl.motion.clips.sketch import Sketch
from mprl.motion.clips.supports import all_supports, feet_bear, parts, schedule
from mprl.motion.clips.tangents import exp, log, log_jacobian, multiply
from mprl.motion.contacts import body_clearance


def bent(loop: bool, contacts: dict[str, list[tuple[float, float]]]) -> Sketch:
    """A few frames of a pose far from anything straight."""
    legs = {"right_leg": Leg(70, 10, 5, 100), "left_leg": Leg(60, 0, 5, 100)}
    other = STAND.but(x=0.1, z=0.6, yaw=20, roll=10, pitch=30, bend=20, right_arm=Arm(60, 7, 100), left_arm=Arm(-40), **legs)
    rate = 30.0
    qpos = through({0.0: STAND, 0.1: other, 0.2: STAND}, times(0.2, rate), loop=loop)
    return Sketch(qpos, rate, contacts, loop=loop, limits=limits() * 0.3)


@pytest.mark.parametrize("loop", [False, True])
def test_the_gradient_is_that_of_finite_differences(loop: bool) -> None:
    sketch = bent(loop, {"right_foot": [(0, 0.11)], "left_toe": [(0.05, 0.2)], "right_hand": [(0.0, 0.07)], "left_knee": [(0.03, 0.1)]})
    problem, random = Problem(sketch), np.random.default_rng(0)
    qpos = problem.tangents.moved(sketch.qpos[: problem.frames], 0.02 * random.normal(size=(problem.frames, problem.nv)))
    normal = Normal.zeros(problem.frames, problem.nv)
    problem.cost(qpos, normal)
    for _ in range(3):
        along = random.normal(size=normal.gradient.shape)
        ahead, behind = (sum(problem.cost(problem.tangents.moved(qpos, sign * 1e-6 * along)).values()) for sign in (1, -1))
        slope = (ahead - behind) / 2e-6
        assert slope == pytest.approx((normal.gradient * along).sum(), rel=1e-4)


def test_rotation_vectors_and_quaternions_are_mujocos() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(50, 3))
    for vector, quaternion in zip(vectors, exp(vectors), strict=True):
        expected = np.zeros(4)
        mujoco.mju_axisAngle2Quat(expected, vector / np.linalg.norm(vector), np.linalg.norm(vector))
        np.testing.assert_allclose(quaternion, expected, atol=1e-12)
    np.testing.assert_allclose(log(exp(0.9 * vectors)), 0.9 * vectors, atol=1e-9)  # shorter than pi
    # d log(R(v) exp(e)) / de
    inverse, base = log_jacobian(0.5 * vectors), exp(0.5 * vectors)
    for axis in np.eye(3):
        change = (log(multiply(base, exp(np.tile(1e-6 * axis, (50, 1))))) - 0.5 * vectors) / 1e-6
        np.testing.assert_allclose(inverse @ axis, change, atol=1e-4)


@pytest.mark.slow
def test_who_leans_too_far_is_put_over_his_feet() -> None:
    """At rest the floor's force acts below the centre of mass: there is no other balance."""
    rate, leaning = 15.0, STAND.but(x=0.25)
    sketch = Sketch(
        np.tile(through({0.0: leaning, 1.0: leaning}, times(0.1, rate))[:1], (4, 1)), rate, {"right_foot": [(0, 1)], "left_foot": [(0, 1)]}
    )
    qpos = optimize(sketch, iterations=30)
    data = mujoco.MjData(HUMANOID.model)
    data.qpos[:] = qpos[1]
    mujoco.mj_forward(HUMANOID.model, data)
    corners = np.array(
        [data.xpos[s.body] + data.xmat[s.body].reshape(3, 3) @ s.point for s in parts()["right_foot"] + parts()["left_foot"]]
    )
    assert np.abs(corners[:, 2]).max() < 1e-3
    low, high = corners[:, 0].min(), corners[:, 0].max()
    assert low < data.subtree_com[1][0] < high + 1e-3
    assert np.abs(qpos - qpos[0]).max() < 0.02  # and stays there


def test_twice_the_frames_keep_the_old_ones_and_a_parabola() -> None:
    rate = 30.0
    qpos = np.tile(HUMANOID.model.qpos0, (9, 1))
    time = np.arange(9) / rate
    qpos[:, 2] = 2 + 3 * time - 4.905 * time**2
    fine = refined(Sketch(qpos, rate, {}), qpos)
    np.testing.assert_array_equal(fine[::2], qpos)
    between = np.arange(17)[3:-3] / (2 * rate)
    np.testing.assert_allclose(fine[3:-3, 2], 2 + 3 * between - 4.905 * between**2, atol=1e-9)


def test_a_schedule_says_which_feet_bear() -> None:
    bears = schedule({"right_foot": [(0.1, 0.2)], "left_toe": [(0.2, 0.3)], "pelvis": [(0, 1)]}, times(0.4, 10.0))
    np.testing.assert_array_equal(feet_bear(bears).T, [[0, 1, 1, 0, 0], [0, 0, 1, 1, 0]])
    assert bears.sum(axis=1).tolist() == [1, 5, 7, 3, 1]  # of single points
    assert len(all_supports()) == len(set(all_supports()))


def test_poses_say_what_the_body_does() -> None:
    data = mujoco.MjData(HUMANOID.model)

    def place(body: str, **values: object) -> np.ndarray:
        qpos = through({0.0: pose(z=1.0, **values), 1.0: pose(z=1.0, **values)}, times(1.0, 1.0))
        data.qpos[:] = qpos[0]
        mujoco.mj_kinematics(HUMANOID.model, data)
        return data.body(body).xpos.copy()

    straight = place("right_ankle", legs=Leg(turn=0, knee=0))
    assert place("right_ankle", legs=Leg(flex=90, turn=0, knee=0))[0] > straight[0] + 0.8  # forward
    assert place("right_ankle", legs=Leg(out=90, turn=0, knee=0))[1] < straight[1] - 0.8  # to the right
    assert place("left_ankle", legs=Leg(out=90, turn=0, knee=0))[1] > 0.8  # to the left
    assert place("right_ankle", legs=Leg(knee=90))[0] < -0.3  # behind
    assert place("right_wrist", arms=Arm(swing=90, out=0, elbow=0))[0] > 0.45
    assert place("left_wrist", arms=Arm(out=90, elbow=0))[1] > 0.6
    assert place("neck", pitch=90)[0] > 0.4
    assert place("neck", roll=90)[1] < -0.4
    np.testing.assert_allclose(place("right_wrist", right_arm=Arm(50, 20, 80)) * [1, -1, 1], place("left_wrist", left_arm=Arm(50, 20, 80)))
    mirrored = pose(z=1.0, yaw=20, right_arm=Arm(50)).mirrored()
    assert (mirrored.yaw, mirrored.left_arm.swing) == (-20, 50)


def test_a_pose_without_a_height_stands_on_the_floor_with_level_soles() -> None:
    qpos = through({0.0: STAND, 1.0: STAND}, times(1.0, 2.0))
    assert body_clearance(HUMANOID, qpos).min() == pytest.approx(0.0, abs=1e-9)
    clip = to_clip("stand", qpos, 2.0, np.ones((3, 2), dtype=bool), loop=False)
    np.testing.assert_allclose(HUMANOID.to_qpos(clip), qpos, atol=1e-9)
    data = mujoco.MjData(HUMANOID.model)
    data.qpos[:] = qpos[0]
    mujoco.mj_kinematics(HUMANOID.model, data)
    assert data.geom("right_ankle").xmat[8] > 0.999
