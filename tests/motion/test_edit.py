"""Editing does what it says, on motions whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from mprl.errors import SettingError
from mprl.motion import HUMANOID, MotionClip, Skeleton, edit, load
from mprl.motion.kinematics import forward_kinematics

# pelvis, two legs of two links that reach out to the sides, as a crab's
CRAB = Skeleton(
    ("Hips", "LeftLeg", "LeftFoot", "RightLeg", "RightFoot"),
    (-1, 0, 1, 0, 3),
    np.array([[0, 0, 0], [0, 0.1, 0], [0, 0.2, -0.4], [0, -0.1, 0], [0, -0.2, -0.4]]),
)


def angles(a: MotionClip, b: MotionClip) -> float:
    """Greatest angle between two clips' rotations, rad."""
    between = Rotation.from_quat(a.rotations.reshape(-1, 4), scalar_first=True).inv() * Rotation.from_quat(
        b.rotations.reshape(-1, 4), scalar_first=True
    )
    return float(between.magnitude().max())


def joints(clip: MotionClip) -> np.ndarray:
    return forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))[0].numpy()


def walking_left(frames: int = 31, rate: float = 30.0) -> MotionClip:
    """Turns to the left at 1 rad/s while it goes forward; only its left leg moves."""
    t = np.arange(frames) / rate
    rotations = np.zeros((frames, 5, 4))
    rotations[..., 0] = 1
    rotations[:, 0] = Rotation.from_rotvec(np.outer(t, [0, 0, 1])).as_quat(scalar_first=True)
    rotations[:, 1] = Rotation.from_rotvec(np.outer(np.sin(5 * t), [0.3, -0.5, 0.2])).as_quat(scalar_first=True)
    position = np.stack((np.sin(t), 1 - np.cos(t), np.ones_like(t)), axis=1)
    contacts = np.stack((t < 0.5, t >= 0.7), axis=1)
    return MotionClip("circle", CRAB, rate, position, rotations, contacts=contacts)


def swinging(frequency: float = 0.5, cycles: float = 3.3, rate: float = 40.0, seed: int = 0) -> MotionClip:
    """All joints swing as sinusoids of one period while the root goes steadily forward."""
    t = np.arange(round(cycles / frequency * rate)) / rate
    draw = np.random.default_rng(seed)
    phase = 2 * np.pi * frequency * t
    rotations = np.stack(
        [
            Rotation.from_rotvec(np.outer(np.sin(phase + draw.uniform(0, 6)), draw.normal(size=3) * 0.4)).as_quat(scalar_first=True)
            for _ in CRAB.names
        ],
        axis=1,
    )
    position = np.stack((1.2 * t, 0.05 * np.sin(phase), 1 + 0.03 * np.cos(2 * phase)), axis=1)
    return MotionClip("swing", CRAB, rate, position, rotations)


# ----------------------------------------------------------------------------------------------------------------------- mirror


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("LeftUpLeg", "RightUpLeg"), ("left_hip", "right_hip"), ("mixamorig:LeftArm", "mixamorig:RightArm"), ("LHipJoint", "RHipJoint"),
        ("lhand", "rhand"), ("L_Wrist_End", "R_Wrist_End"), ("hip.L", "hip.R"), ("thigh_l", "thigh_r"), ("Bip01 L Thigh", "Bip01 R Thigh"),
        ("LFingers", "RFingers"), ("FootL", "FootR"),
    ],
)  # fmt: skip
def test_counterparts_are_found_however_they_are_spelled(name, other):
    assert edit.counterparts(("Spine", name, "lowerback", other)) == (0, 3, 2, 1)


def test_a_side_without_its_counterpart_is_said():
    with pytest.raises(SettingError, match="joint 'LeftHand' has no counterpart"):
        edit.counterparts(("Hips", "LeftHand"))


@pytest.mark.parametrize("clip", [walking_left(), swinging()])
def test_mirrored_twice_it_is_itself(clip):
    again = edit.mirror(edit.mirror(clip))
    assert angles(again, clip) < 1e-9
    np.testing.assert_allclose(again.root_position, clip.root_position, atol=1e-12)
    assert (again.contacts is None) == (clip.contacts is None)


def test_a_turn_to_the_left_becomes_one_to_the_right():
    clip = walking_left()
    seen = edit.mirror(clip)
    np.testing.assert_allclose(seen.root_position, clip.root_position * [1, -1, 1])
    turned = Rotation.from_quat(seen.rotations[:, 0], scalar_first=True).as_rotvec()
    np.testing.assert_allclose(turned, np.outer(np.arange(31) / 30, [0, 0, -1]), atol=1e-12)
    assert (seen.rotations[:, 1] == [1, 0, 0, 0]).all()  # it is the right leg that moves
    assert np.array_equal(seen.contacts, clip.contacts[:, ::-1])


def test_every_joint_is_where_the_mirror_shows_its_counterpart():
    clip = walking_left()
    np.testing.assert_allclose(joints(edit.mirror(clip)), joints(clip)[:, [0, 3, 4, 1, 2]] * [1, -1, 1], atol=1e-12)


def test_a_rig_that_faces_another_way_at_rest_is_mirrored_in_its_own_plane():
    quarter = Rotation.from_rotvec([0, 0, np.radians(60)])
    clip = walking_left()
    turned = replace(CRAB, offsets=quarter.apply(CRAB.offsets.copy()))
    rotations = clip.rotations.copy()  # the same motion: R' = R q^-1 at the root, q R q^-1 elsewhere
    rotations[:, 0] = (Rotation.from_quat(rotations[:, 0], scalar_first=True) * quarter.inv()).as_quat(scalar_first=True)
    rotations[:, 1] = (quarter * Rotation.from_quat(rotations[:, 1], scalar_first=True) * quarter.inv()).as_quat(scalar_first=True)
    same = replace(clip, skeleton=turned, rotations=rotations)
    np.testing.assert_allclose(joints(same), joints(clip), atol=1e-12)
    np.testing.assert_allclose(joints(edit.mirror(same)), joints(edit.mirror(clip)), atol=1e-12)


# ----------------------------------------------------------------------------------------------------------------------- timing


def test_trim_keeps_the_frames_from_start_to_end():
    clip = walking_left()
    part = edit.trim(clip, 0.2, 0.6)
    assert part.num_frames == 13 and part.duration == pytest.approx(0.4)
    np.testing.assert_array_equal(part.rotations, clip.rotations[6:19])
    np.testing.assert_array_equal(part.contacts, clip.contacts[6:19])
    whole = edit.trim(replace(clip, loop="wrap"))
    assert whole.loop == "wrap" and edit.trim(whole, 0.2).loop == "none"


@pytest.mark.parametrize("part", [(0.5, 0.2), (-1, 0.5), (0, 5), (0.5, 0.501), (float("nan"), 0.5)])
def test_a_part_that_is_not_there_is_refused(part):
    with pytest.raises(SettingError, match="circle"):
        edit.trim(walking_left(), *part)


def test_resampling_is_scipy_s_slerp():
    clip = swinging(cycles=1.0)
    made = edit.resample(clip, 100.0)
    times = np.arange(made.num_frames) / made.frame_rate
    assert made.duration == pytest.approx(clip.duration) and made.frame_rate == pytest.approx(100, rel=0.01)
    for joint in range(5):
        keys = Slerp(np.arange(clip.num_frames) / clip.frame_rate, Rotation.from_quat(clip.rotations[:, joint], scalar_first=True))
        expected = keys(np.minimum(times, clip.duration))
        found = Rotation.from_quat(made.rotations[:, joint], scalar_first=True)
        assert (expected.inv() * found).magnitude().max() < 1e-9


def test_twice_as_fast_takes_half_the_time_and_the_same_frames():
    clip = walking_left()
    fast = edit.time_warp(clip, 2.0)
    assert fast.duration == pytest.approx(clip.duration / 2) and np.array_equal(fast.rotations, clip.rotations)


def test_a_speed_that_rises_from_1_to_3_takes_half_the_logarithm_of_3():
    """Speed 1 + 2 t over 1 s of the clip: it takes the integral of 1 / (1 + 2 t), ln(3) / 2 s."""
    clip = walking_left(61, 60.0)
    warped = edit.time_warp(clip, [(0.0, 1.0), (1.0, 3.0)])
    assert warped.duration == pytest.approx(np.log(3) / 2, rel=1e-4)
    new = np.arange(warped.num_frames) / warped.frame_rate
    turned = Rotation.from_quat(warped.rotations[:, 0], scalar_first=True).as_rotvec()[:, 2]  # 1 rad/s: tells the time in the clip
    np.testing.assert_allclose(turned, (np.exp(2 * new) - 1) / 2, atol=2e-4)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), [(0, 1), (0, 2)], [], [(0, 1), (1, -1)]])
def test_impossible_speeds_are_refused(speed):
    with pytest.raises(SettingError, match="circle"):
        edit.time_warp(walking_left(), speed)


@pytest.mark.parametrize("change", [
    lambda clip: edit.resample(clip, 1e9), lambda clip: edit.time_warp(clip, 1e300), lambda clip: edit.time_warp(clip, [(0, 1), (1, 1e-9)]),
    lambda clip: edit.resample(replace(clip, frame_rate=0.01), 1e4),
], ids=["rate", "speed", "slowness", "an hour at the highest rate"])  # fmt: skip
def test_more_frames_than_a_clip_can_hold_are_refused_before_they_are_made(change):
    with pytest.raises(SettingError, match=r"circle: (expected a frame rate of at most 10000 Hz|.* are more than a clip can hold)"):
        change(walking_left())


# ------------------------------------------------------------------------------------------------------------------------- turn


def test_turned_by_a_right_angle_forward_is_left():
    clip = replace(walking_left(), root_position=np.outer(np.arange(31), [0.1, 0, 0]) + [5, 2, 1])
    made = edit.turn(clip, np.pi / 2)
    np.testing.assert_allclose(made.root_position, np.outer(np.arange(31), [0, 0.1, 0]) + [5, 2, 1], atol=1e-12)
    start = Rotation.from_quat(made.rotations[0, 0], scalar_first=True).apply([1, 0, 0])
    np.testing.assert_allclose(start, [0, 1, 0], atol=1e-12)
    np.testing.assert_array_equal(made.rotations[:, 1:], clip.rotations[:, 1:])


# ----------------------------------------------------------------------------------------------------------------------- smooth


def test_smoothing_keeps_constant_velocities():
    t = np.arange(40) / 30
    rotations = np.zeros((40, 5, 4))
    rotations[..., 0] = 1
    for joint, velocity in enumerate(([0, 0, 2], [3, 1, 0], [0, -4, 0], [1, 1, 1], [0, 0, -9])):
        start = Rotation.from_rotvec([0.3, 0.2 * joint, 0])
        rotations[:, joint] = (start * Rotation.from_rotvec(np.outer(t, velocity))).as_quat(scalar_first=True)
    clip = MotionClip("steady", CRAB, 30.0, np.outer(t, [1, -2, 0.5]), rotations)
    for cutoff in (3.0, 6.0):
        made = edit.smooth(clip, cutoff)
        assert angles(made, clip) < 1e-9
        np.testing.assert_allclose(made.root_position, clip.root_position, atol=1e-12)


def test_at_the_cutoff_the_amplitude_falls_by_3_db_and_nothing_is_delayed():
    rate, cutoff = 120.0, 5.0
    t = np.arange(720) / rate
    rotations = np.zeros((720, 5, 4))
    rotations[..., 0] = 1
    for joint, frequency in enumerate((0.2, cutoff, 20.0)):
        angle = 0.2 * np.sin(2 * np.pi * frequency * t)
        rotations[:, joint] = Rotation.from_rotvec(np.outer(angle, [0, 1, 0])).as_quat(scalar_first=True)
    made = edit.smooth(MotionClip("waves", CRAB, rate, np.zeros((720, 3)), rotations), cutoff)
    middle = slice(120, 600)
    for joint, frequency, left in ((0, 0.2, 1.0), (1, cutoff, np.sqrt(0.5)), (2, 20.0, 0.0)):
        found = Rotation.from_quat(made.rotations[middle, joint], scalar_first=True).as_rotvec()[:, 1]
        np.testing.assert_allclose(found, left * 0.2 * np.sin(2 * np.pi * frequency * t[middle]), atol=2e-3)


def test_a_smoothed_cycle_stays_one():
    clip = edit.loop(swinging())
    noise = np.random.default_rng(1).normal(scale=0.05, size=(clip.num_frames, 5, 3))
    noise[-1] = noise[0]
    rough = Rotation.from_quat(clip.rotations.reshape(-1, 4), scalar_first=True) * Rotation.from_rotvec(noise.reshape(-1, 3))
    made = edit.smooth(replace(clip, rotations=rough.as_quat(scalar_first=True).reshape(clip.rotations.shape)), 4.0)
    assert np.array_equal(made.rotations[0], made.rotations[-1])
    np.testing.assert_allclose(made.cycle_displacement, clip.cycle_displacement, atol=1e-9)
    assert angles(made, clip) < 0.12  # against .2 and more of noise


# ------------------------------------------------------------------------------------------------------------------------- loop


@pytest.mark.parametrize("frequency", [0.5, 0.8, 1.25])
def test_the_period_of_a_sinusoid_is_found(frequency):
    clip = swinging(frequency)
    first, last = edit.find_cycle(clip)
    assert (last - first) / clip.frame_rate == pytest.approx(1 / frequency, abs=1e-9)
    made = edit.loop(clip)
    assert made.loop == "wrap" and made.duration == pytest.approx(1 / frequency)
    assert made.cycle_displacement == pytest.approx([1.2 / frequency, 0, 0], abs=2e-3)


def test_a_closed_seam_has_no_jump_in_pose_or_velocity():
    clip = swinging(0.5)
    odd = replace(edit.trim(clip, 0.0, 1.7), loop="wrap")  # not a period: a jump of half a radian and more
    assert odd.loop == "wrap"
    made = edit.close_seam(odd)
    assert np.array_equal(made.rotations[0], made.rotations[-1]) and made.root_position[0, 2] == made.root_position[-1, 2]
    jump = made.rotations[0] - odd.rotations[0]
    assert np.abs(jump).max() > 0.05
    spins = Rotation.from_quat(made.rotations[:-1].reshape(-1, 4), scalar_first=True).inv() * Rotation.from_quat(
        made.rotations[1:].reshape(-1, 4), scalar_first=True
    )
    speed = spins.as_rotvec().reshape(-1, 5, 3) * made.frame_rate
    ring = np.concatenate((speed[-2:], speed[:2]))  # across the seam
    ordinary = np.linalg.norm(np.diff(speed, axis=0), axis=-1).max()
    assert np.linalg.norm(np.diff(ring, axis=0), axis=-1).max() <= ordinary + 1e-9
    middle = slice(14, 54)  # a seam of .3 s leaves the rest alone
    np.testing.assert_array_equal(made.rotations[middle], odd.rotations[middle])


def test_a_cycle_longer_than_the_motion_is_refused():
    with pytest.raises(SettingError, match="expected a cycle of 20 to 30 s"):
        edit.loop(swinging(), 20.0, 30.0)


def test_a_step_of_a_recorded_walk_is_found(mocap):
    """DeepMimic's walk is one cycle; two of them in a row hold it wherever one begins."""
    clip = load(mocap("walk"))
    twice = replace(
        clip,
        root_position=np.concatenate((clip.root_position[:-1], clip.root_position + clip.cycle_displacement)),
        rotations=np.concatenate((clip.rotations[:-1], clip.rotations)),
        loop="none",
    )
    assert edit.loop(twice).duration == pytest.approx(clip.duration, abs=2 / clip.frame_rate)


# ------------------------------------------------------------------------------------------------------------------------ blend


def test_a_crossfade_goes_on_where_and_whither_the_first_one_went():
    first = walking_left()
    second = replace(
        walking_left(), root_position=np.outer(np.arange(31), [0.05, 0, 0]) + [9, 9, 1], rotations=edit.trim(swinging(), 0, 0.75).rotations
    )
    made = edit.crossfade(first, second, 0.2)
    assert made.num_frames == 31 + 31 - 6 - 1 and made.loop == "none"
    np.testing.assert_array_equal(made.rotations[:25], first.rotations[:25])
    assert np.linalg.norm(np.diff(made.root_position, axis=0), axis=1).max() < 0.06
    np.testing.assert_allclose(made.rotations[-20:, 1:], second.rotations[-20:, 1:], atol=1e-12)
    step = np.diff(made.root_position, axis=0)[-1]  # the second one's straight way, turned by how much the headings differ
    assert np.linalg.norm(step) == pytest.approx(0.05)


def test_a_motion_blended_with_itself_is_itself():
    clip = swinging()
    made = edit.blend(clip, clip, 0.3)
    assert angles(made, clip) < 1e-7 and np.allclose(made.root_position, clip.root_position)


def test_cycles_are_blended_in_phase_and_length():
    """The same cycle, begun elsewhere and played at half the speed, blends to itself at the speed between."""
    clip = edit.loop(swinging())
    k, period = 17, clip.num_frames - 1
    at = np.arange(clip.num_frames) + k
    later = replace(
        clip,
        rotations=clip.rotations[at % period],
        root_position=clip.root_position[at % period] + np.outer(at // period, clip.cycle_displacement),
    )
    made = edit.blend(clip, edit.time_warp(later, 0.5), 0.5)
    assert made.duration == pytest.approx(1.5 * clip.duration, rel=1e-6)
    assert angles(edit.resample(made, period / made.duration), clip) < 0.02


def test_what_cannot_be_blended_is_said():
    clip = swinging()
    with pytest.raises(SettingError, match="expected two cycles or none"):
        edit.blend(clip, edit.loop(clip))
    with pytest.raises(SettingError, match="their joints differ"):
        edit.crossfade(clip, load("walk"))
    with pytest.raises(SettingError, match="weight"):
        edit.blend(clip, clip, 1.5)
    with pytest.raises(SettingError, match="cannot fade over 100 s"):
        edit.crossfade(clip, clip, 100.0)


def test_nothing_changes_the_clip_it_is_given(mocap):
    clip = load(mocap("walk"))
    before = clip.rotations.copy(), clip.root_position.copy()
    for change in (edit.mirror, edit.loop, lambda c: edit.turn(c, 1.0), lambda c: edit.smooth(c, 6.0), lambda c: edit.resample(c, 60.0)):
        made = change(clip)
        assert made.skeleton.names == HUMANOID.body_names
    assert np.array_equal(clip.rotations, before[0]) and np.array_equal(clip.root_position, before[1])
