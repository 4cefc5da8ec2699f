"""Where a character touches the floor: heights as MuJoCo measures them, a lift that is enough and no more, plausible footsteps."""

from __future__ import annotations

import logging
from dataclasses import replace

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mprl.motion import HUMANOID, MotionClip, load
from mprl.motion.contacts import body_clearance, label_contacts, lift_out_of_floor

MODEL = HUMANOID.model
FOOT_BELOW_ROOT = 0.421546 + 0.40987 + 0.0225 + 0.0275  # m, of a straight leg: thigh, shin, and the foot's box
STANDING = FOOT_BELOW_ROOT


def standing(height, x=None, rate: float = 30.0, loop: str = "none") -> MotionClip:
    """A character at rest whose root is at `height` (T,) above the floor and at `x` (T,)."""
    height = np.asarray(height, dtype=float)
    position = np.stack((np.zeros_like(height) if x is None else np.asarray(x), np.zeros_like(height), height), axis=1)
    return MotionClip("standing", HUMANOID.skeleton, rate, position, np.tile([1.0, 0, 0, 0], (len(height), 15, 1)), loop)  # type: ignore[arg-type]


def lowest(clip: MotionClip) -> np.ndarray:
    """Height of the lowest point of all bodies in each frame, m."""
    return body_clearance(HUMANOID, HUMANOID.to_qpos(clip).numpy()).min(axis=1)


# ----------------------------------------------------------------------------------------------------------------------- clearance


def test_spheres_capsules_and_boxes_reach_as_low_as_mujoco_says():
    generator = np.random.default_rng(0)
    data = mujoco.MjData(MODEL)
    poses = np.tile(MODEL.qpos0, (50, 1))
    poses[:, 2] = 3
    for where in HUMANOID.ball_qpos:
        poses[:, where] = Rotation.random(50, rng=generator).as_quat(scalar_first=True)
    clearance = body_clearance(HUMANOID, poses)
    floor = MODEL.geom("floor").id
    for pose, found in zip(poses, clearance, strict=True):
        data.qpos[:] = pose
        mujoco.mj_kinematics(MODEL, data)
        for geom in range(MODEL.ngeom):
            if geom != floor:
                measured = mujoco.mj_geomDistance(MODEL, data, floor, geom, 10.0, None)
                assert found[MODEL.geom_bodyid[geom] - 1] == pytest.approx(measured, abs=1e-9), MODEL.geom(geom).name


def test_standing_upright_only_the_feet_are_down():
    clearance = dict(zip(HUMANOID.body_names, body_clearance(HUMANOID, HUMANOID.to_qpos(standing([STANDING] * 2)).numpy())[0], strict=True))
    assert clearance["left_ankle"] == pytest.approx(0, abs=1e-9) and clearance["right_ankle"] == pytest.approx(0, abs=1e-9)
    assert clearance["root"] == pytest.approx(STANDING + 0.07 - 0.09)  # a sphere of 9 cm, 7 cm above the root
    assert clearance["right_shoulder"] == pytest.approx(STANDING + 0.236151 + 0.2435 - 0.045)  # a level capsule
    assert clearance["right_knee"] == pytest.approx(STANDING - 0.421546 - 0.355 - 0.05)  # an upright one


def test_inside_the_floor_is_negative():
    assert lowest(standing([STANDING - 0.05] * 2)) == pytest.approx([-0.05] * 2)


# ---------------------------------------------------------------------------------------------------------------------------- lift


def sinking(loop: str = "none") -> MotionClip:
    """4 s at 30 Hz; it sinks by 5 cm at frame 60."""
    depth = 0.05 * np.exp(-0.5 * ((np.arange(121) - 60) / 2) ** 2)
    depth[depth < 1e-6] = 0
    return standing(STANDING - depth, loop=loop)


@pytest.mark.parametrize("loop", ["none", "wrap"])
def test_a_lift_is_enough_and_far_away_nothing_moves(loop):
    clip = sinking(loop)
    lifted = lift_out_of_floor(clip, HUMANOID)
    assert lowest(lifted).min() > -1e-4
    assert lowest(lifted).max() < 0.051
    raised = np.flatnonzero(lifted.root_position[:, 2] != clip.root_position[:, 2])
    touched = np.flatnonzero(lowest(clip) < 0)
    assert raised.min() >= touched.min() - 6 and raised.max() <= touched.max() + 6  # twice .1 s
    assert np.array_equal(lifted.rotations, clip.rotations) and np.array_equal(lifted.root_position[:, :2], clip.root_position[:, :2])


def test_a_lift_at_the_seam_of_a_cycle_leaves_no_jump():
    depth = np.zeros(121)
    depth[:3], depth[-1] = [0.05, 0.04, 0.02], 0.05
    lifted = lift_out_of_floor(standing(STANDING - depth, loop="wrap"), HUMANOID)
    assert lowest(lifted).min() > -1e-4
    lift = lifted.root_position[:, 2] - STANDING + depth
    assert lift[0] == pytest.approx(lift[-1]) and lift[-2] > 0.04  # it rises before the seam already
    assert lift[20:100].max() < 1e-12


def test_the_message_names_the_clip_the_depth_and_the_place(caplog):
    with caplog.at_level(logging.INFO, logger="mprl"):
        lift_out_of_floor(sinking(), HUMANOID)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("standing: ") and "sinks 50 mm" in message and "frame 60" in message and "2.00 s" in message
    assert "\n" not in message


def test_what_does_not_sink_is_left_alone_without_a_word(caplog):
    clip = standing([STANDING + 0.001, STANDING + 0.5])
    with caplog.at_level(logging.INFO, logger="mprl"):
        assert lift_out_of_floor(clip, HUMANOID) is clip
    assert not caplog.records


def test_no_real_clip_sinks_by_a_tenth_of_a_millimetre_after_the_lift(mocap_folder):
    deepest = []
    for path in sorted(mocap_folder.glob("humanoid3d_*.txt")):
        clip = load(path)
        deepest.append(lowest(clip).min())
        assert lowest(lift_out_of_floor(clip, HUMANOID)).min() > -1e-4, path.name
    assert min(deepest) < -0.005  # some do sink, or this would show nothing


# ------------------------------------------------------------------------------------------------------------------------ footsteps


def test_feet_at_rest_on_the_floor_bear():
    assert label_contacts(standing([STANDING] * 5), HUMANOID).contacts.all()


def test_feet_in_the_air_do_not_bear():
    assert not label_contacts(standing([STANDING + 0.1] * 5), HUMANOID).contacts.any()


def test_feet_that_skid_do_not_bear():
    assert not label_contacts(standing([STANDING] * 5, x=np.arange(5) * 2 / 30), HUMANOID).contacts.any()


def test_a_foot_that_rolls_over_its_toes_bears():
    """It turns by 20 rad/s about its front edge: its middle moves at 2 m/s, the edge does not."""
    angle = -np.arange(5) * 20 / 240 - 0.01
    turn = Rotation.from_rotvec(np.outer(-angle, [0, 1, 0]))
    edge = np.array([0.045 + 0.0885, 0.084887, -FOOT_BELOW_ROOT])  # from the root, at rest
    position = np.array([edge[0], 0, 0]) - turn.apply(edge * [1, 0, 1])
    clip = replace(standing(np.zeros(5), rate=240), root_position=position)
    rotations = clip.rotations.copy()
    rotations[:, 0] = turn.as_quat(scalar_first=True)
    rolling = replace(clip, rotations=rotations)
    assert np.abs(lowest(rolling)).max() < 1e-9
    assert label_contacts(rolling, HUMANOID).contacts.all()


@pytest.mark.parametrize(
    ("name", "each", "both"),
    [
        ("walk", (0.5, 0.7), (0.1, 0.35)),  # of a cycle; textbook gait: 60 % stance, 20 % double support
        ("run", (0.2, 0.4), (0.0, 0.0)),  # a third, and a flight phase instead of double support
        ("zombie_walk", (0.55, 0.85), (0.2, 0.6)),  # slow: longer on both feet
        ("cartwheel", (0.4, 0.75), (0.25, 0.6)),  # a third of it on the hands
    ],
)
def test_footsteps_of_real_motion_are_plausible(mocap, name, each, both):
    contacts = label_contacts(lift_out_of_floor(load(mocap(name)), HUMANOID), HUMANOID).contacts
    for share in contacts.mean(axis=0):
        assert each[0] <= share <= each[1], share
    assert both[0] <= contacts.all(axis=1).mean() <= both[1]


def test_walking_feet_bear_in_turn_once_each_cycle(mocap):
    contacts = label_contacts(lift_out_of_floor(load(mocap("walk")), HUMANOID), HUMANOID).contacts[:-1]
    for foot in contacts.T:
        assert (foot & ~np.roll(foot, 1)).sum() == 1  # it comes down once
    assert contacts.any(axis=1).mean() > 0.9  # a walk is never in the air; at touch-down the recorded foot moves for a frame or two


def test_labels_are_the_character_s_feet_in_its_order(mocap):
    clip = standing([STANDING] * 3)
    rotations = clip.rotations.copy()
    rotations[:, HUMANOID.body_names.index("left_hip")] = Rotation.from_rotvec([0, -1.0, 0]).as_quat(scalar_first=True)
    contacts = label_contacts(replace(clip, rotations=rotations), HUMANOID).contacts
    assert HUMANOID.feet == ("right_ankle", "left_ankle")
    assert contacts[:, 0].all() and not contacts[:, 1].any()  # the left leg is raised
