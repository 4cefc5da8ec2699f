"""Simulated readings, where a body's motion says what they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mprl.errors import SettingError
from mprl.motion import load
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS
from mprl.motion.fitting.imu import Faults, sensors, simulate


def test_a_body_that_spins_feels_the_centripetal_acceleration(moving):
    """In a T-pose, w rad/s about the vertical through the pelvis: w² times the distance, towards the axis."""
    clip = moving(yaw=lambda t: 2.0 * t)
    readings = simulate(clip, calibration=0.0)
    rest = np.zeros((24, 3))
    for joint, parent in enumerate(clip.skeleton.parents[1:], start=1):
        rest[joint] = rest[parent] + clip.skeleton.offsets[joint]
    at = rest[sensors.bones()] + sensors.places(torch.as_tensor(rest)).numpy()
    size = 4.0 * np.linalg.norm(at[:, :2], axis=-1)
    assert size[0] > 1.5  # the forearms
    assert np.allclose(np.linalg.norm(readings.acceleration, axis=-1), size, rtol=1e-3)
    assert np.allclose(readings.acceleration[..., 2], 0.0, atol=1e-9)


def test_a_body_in_free_fall_accelerates_by_g(moving):
    readings = simulate(moving(root=lambda t: (t, 0, -0.5 * 9.81 * t**2)), calibration=0.0)
    assert np.allclose(readings.acceleration, [0, 0, -9.81])


def test_a_constant_turn_is_read_as_it_is(moving):
    clip = moving({"head": lambda t: (0.3 * t, 0, 0)})
    turned = simulate(clip, ("head", "pelvis"), calibration=0.0).orientation
    assert np.allclose(turned[:, 0], clip.rotations[:, JOINTS.index("head")])
    assert np.allclose(turned[:, 1], [1, 0, 0, 0])


def test_however_sensors_are_mounted_the_t_pose_tells_it(squatting):
    true = simulate(squatting).bone_rotations()
    found = simulate(squatting, faults=Faults(misalignment=0.8)).bone_rotations()
    assert float(rot.angle(found, true).max()) < 1e-5


def test_a_t_pose_held_otherwise_turns_the_bone_for_the_rest_of_the_recording(squatting):
    true = simulate(squatting).bone_rotations()
    off = rot.angle(simulate(squatting, faults=Faults(calibration_error=0.1), seed=3).bone_rotations(), true)
    assert torch.allclose(off[70:], off[70:71].expand_as(off[70:]), atol=1e-4) and 0.02 < float(off[-1].mean()) < 0.4


def test_faults_are_as_large_as_asked_for(moving):
    clip = moving(seconds=30.0)
    exact = simulate(clip, calibration=0.0)
    noisy = simulate(clip, faults=Faults(orientation_noise=0.05, accelerometer_noise=0.4), calibration=0.0)
    off = rot.angle(torch.as_tensor(noisy.orientation.copy()), torch.as_tensor(exact.orientation.copy()))
    assert float(off.square().mean().sqrt()) == pytest.approx(0.05, rel=0.05)
    assert np.std(noisy.acceleration) == pytest.approx(0.4, rel=0.05)


def test_drift_grows_with_the_square_root_of_time(moving):
    ends = []
    clip = moving(seconds=4.0)
    for seed in range(20):
        drifted = simulate(clip, faults=Faults(heading_drift=0.1), calibration=0.0, seed=seed)
        w, _, _, z = np.moveaxis(drifted.orientation[-1], -1, 0)
        ends += list(2 * np.arctan2(z, w))
    assert np.std(ends) == pytest.approx(0.2, rel=0.25)


def test_faults_follow_from_the_seed(squatting):
    faults = Faults(0.01, 0.01, 0.1, 0.1, 0.02, 0.3, 0.05, 0.01)
    first, again, other = (simulate(squatting, faults=faults, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.orientation, again.orientation) and np.array_equal(first.acceleration, again.acceleration)
    assert not np.array_equal(first.orientation, other.orientation)


def test_the_t_pose_is_still_and_faces_where_the_motion_begins(moving):
    readings = simulate(moving(yaw=lambda t: 0.9 + t))
    assert readings.heading == pytest.approx(0.9) and readings.num_frames == 61 + 120
    assert np.allclose(readings.acceleration[1:58], 0.0, atol=1e-9)


def test_other_joints_or_faults_are_refused():
    with pytest.raises(SettingError, match="retarget it first"):
        simulate(load("walk"))
    with pytest.raises(SettingError, match="accelerometer_noise must be at least 0"):
        Faults(accelerometer_noise=-1)
