"""Recordings: what is wrong with them is said in a line, and what is missing for a moment is filled."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mprl.errors import MotionFormatError, UnknownNameError
from mprl.motion import rotations as rot
from mprl.motion.fitting.imu import NAMES, Readings, read, write

FRAMES, RATE = 120, 60.0


def still(sensors=("head", "pelvis"), **changes) -> dict:
    orientation = np.tile([1.0, 0.0, 0.0, 0.0], (FRAMES, len(sensors), 1))
    made = {"sensors": sensors, "orientation": orientation, "acceleration": np.zeros((FRAMES, len(sensors), 3)), "frame_rate": RATE}
    return made | changes


def turning(omega: float, frames: int = FRAMES) -> np.ndarray:
    """Still for a second, then about the vertical."""
    angle = omega * np.maximum(0.0, np.arange(frames) / RATE - 1.0)
    return rot.about_vertical(torch.as_tensor(angle)).numpy()


def test_a_bone_turns_as_its_sensor_does_however_it_is_mounted():
    mount = rot.unit(torch.tensor([0.3, -0.5, 0.7, 0.2], dtype=torch.float64))
    turn = torch.as_tensor(turning(2.0))
    worn = rot.multiply(turn, mount.expand_as(turn))
    found = Readings(**still(("head",), orientation=worn.numpy()[:, None])).bone_rotations()[:, 0]
    assert float(rot.angle(found, turn).max()) < 1e-6


def test_the_heading_in_the_t_pose_is_the_bones_heading():
    facing = rot.about_vertical(torch.tensor(0.7, dtype=torch.float64))
    found = Readings(**still(heading=0.7)).bone_rotations()
    assert float(rot.angle(found, facing.expand_as(found)).max()) < 1e-6


def test_without_calibration_orientations_are_the_bones_own():
    orientation = turning(1.0)[:, None]
    found = Readings(**still(("head",), orientation=orientation, calibration=0.0)).bone_rotations()
    assert np.allclose(found.numpy(), orientation)


def test_a_bias_felt_in_the_t_pose_is_taken_away():
    readings = Readings(**still(acceleration=np.full((FRAMES, 2, 3), 0.3)))
    assert np.allclose(readings.free_accelerations(), 0.0)


def test_a_short_gap_is_filled_by_turning_evenly():
    whole = turning(2.0)[:, None]
    holed = whole.copy()
    holed[80:90] = np.nan
    filled = Readings(**still(("head",), orientation=holed)).orientation
    assert np.allclose(filled, whole, atol=1e-9)


def test_missing_at_the_ends_takes_the_nearest():
    orientation = turning(2.0)[:, None]
    orientation[-3:] = np.nan
    assert np.allclose(Readings(**still(("head",), orientation=orientation)).orientation[-1], orientation[-4])


def changed(key: str, at, value) -> dict:
    array = still()[key].copy()
    array[at] = value
    return {key: array}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sensors": ("head", "pelvs")}, "no sensor named 'pelvs'; did you mean 'pelvis'?"),
        ({"sensors": ("head", "head")}, "'head' is there twice"),
        ({"sensors": ()}, "holds no sensor"),
        ({"sensors": ("head",)}, r"expected orientations \(120, 1, 4\)"),
        ({"frame_rate": 0.0}, "frame rate: expected a number of at least 10, found 0"),
        ({"frame_rate": 6.0}, "frame rate: expected a number of at least 10, found 6"),
        ({"calibration": 0.05}, "expected a T-pose of at least 0.2 s, or 0 for none, found 0.05"),
        ({"frame_rate": math.nan}, "frame rate: expected"),
        ({"heading": math.inf}, "heading must be finite"),
        ({"spacing": 0}, "spacing: expected at least 1 frame and less than half of the 120 frames, found 0"),
        ({"spacing": 60}, "less than half of the 120 frames, found 60"),
        ({"calibration": 1.9}, "120 frames at 60 Hz are too short"),
        (changed("orientation", (slice(70, 100), 1), math.nan), "sensor 'pelvis', frames 70 to 99: nothing for 0.50 s"),
        (changed("orientation", (slice(None, None, 2), 0), math.nan), "sensor 'head': 50% of its readings are missing.*mixed rates"),
        (changed("orientation", (70, 0), 0.9), "sensor 'head', frame 70: orientation has length 1.8"),
        (changed("acceleration", (70, 0), 1e5), "sensor 'head', frame 70: above 1e4 m/s²"),
        (changed("orientation", (slice(20, 40), 0), [0.0, 1.0, 0.0, 0.0]), "no calibration pose.*'head' turns by"),
        (changed("acceleration", (slice(None), 1), [0.0, 0.0, 9.81]), "'pelvis' accelerates by 9.8 m/s².*is gravity still in it"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(changes, said):
    with pytest.raises((MotionFormatError, UnknownNameError), match=said) as caught:
        Readings(**still() | changes)
    assert "\n" not in str(caught.value)


def test_some_of_the_sensors():
    assert Readings(**still()).only(("pelvis",)).orientation.shape == (FRAMES, 1, 4)
    with pytest.raises(UnknownNameError, match="no sensor named 'left_shank'"):
        Readings(**still()).only(("left_shank",))


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_what_is_written_is_read(tmp_path, suffix):
    orientation = np.stack([turning(speed) for speed in range(6)], axis=1)
    given = Readings(NAMES, orientation, np.random.default_rng(0).normal(size=(FRAMES, 6, 3)) * 0.1, RATE, heading=0.3, spacing=4)
    found = read(write(given, tmp_path / f"r{suffix}"))
    assert found.sensors == NAMES and found.frame_rate == RATE and found.spacing == 4 and found.heading == pytest.approx(0.3)
    assert np.allclose(found.orientation, given.orientation, atol=1e-6) and np.allclose(found.acceleration, given.acceleration, atol=1e-6)


HEAD = "head_qw,head_qx,head_qy,head_qz,head_ax,head_ay,head_az"
ROW = "1,0,0,0,0,0,0"


def table(tmp_path, text: str) -> str:
    (tmp_path / "r.csv").write_text(text)
    return str(tmp_path / "r.csv")


def test_specific_force_loses_its_gravity(tmp_path):
    """Lying on its side: x points up, and that is where 9.81 m/s² are felt."""
    row = f"{0.5**0.5},0,{-(0.5**0.5)},0,9.81,0,0"
    readings = read(table(tmp_path, f"# frame_rate: 60\n# acceleration: specific_force\n{HEAD}\n" + f"{row}\n" * FRAMES))
    assert np.allclose(readings.acceleration, 0.0, atol=1e-6)


def test_empty_cells_are_gaps(tmp_path):
    rows = [ROW] * FRAMES
    rows[90] = ",,,,,,"
    assert np.allclose(read(table(tmp_path, f"# frame_rate: 60\n{HEAD}\n" + "\n".join(rows))).orientation[90, 0], [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEAD}\n{ROW}\n{ROW}\n", "expected a column 'time', or a line '# frame_rate: 60'"),
        (f"# frame_rate: 60\n{HEAD}\n{ROW}\n{ROW[:-2]}\n", "line 4: expected 7 numbers, found 6"),
        (f"# frame_rate: 60\n{HEAD}\n{ROW}\nx{ROW}\n", "line 4, 'head_qw': expected a finite number"),
        (f"# frame_rate: 60\n{HEAD[:-8]}\n{ROW[:-2]}\n{ROW[:-2]}\n", "the sensor 'head' has no column 'head_az'"),
        (f"# frame_rate: 60\n{HEAD.replace('head', 'hed')}\n{ROW}\n{ROW}\n", "no sensor named 'hed'; did you mean 'head'?"),
        (f"# frame_rate: 60\n# acceleration: g\n{HEAD}\n{ROW}\n{ROW}\n", "acceleration: expected one of free, specific_force, found 'g'"),
        (f"# frame_rate: 60\n# calibration: no\n{HEAD}\n{ROW}\n{ROW}\n", "calibration: expected a number, found 'no'"),
        (f"time,{HEAD}\n0,{ROW}\n.01,{ROW}\n.03,{ROW}\n", "expected even steps forward"),
        (f"# frame_rate: 100\ntime,{HEAD}\n0,{ROW}\n.02,{ROW}\n.04,{ROW}\n", "two frame rates: 100 Hz in the comment, 50 Hz"),
        (f"# frame_rate: 60\n{HEAD}\n" + f"{ROW}\n" * 20, "20 frames at 60 Hz are too short"),
    ],
)
def test_a_table_that_is_wrong_says_where(tmp_path, text, said):
    with pytest.raises((MotionFormatError, UnknownNameError), match=said) as caught:
        read(table(tmp_path, text))
    assert "r.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frame_rate": np.array([60.0, 100.0])}, "mixed rates: head 60 Hz, pelvis 100 Hz"),
        ({"sensors": None}, 'the key "sensors" is missing'),
        ({"orientation": np.zeros((FRAMES, 3, 4))}, r'key "orientation": expected \(frames, 2 sensors, 4\), found \(120, 3, 4\)'),
        ({"acceleration_kind": "raw"}, "expected one of free, specific_force, found 'raw'"),
        ({"orientation": np.array([{}], dtype=object)}, "expected numbers or text"),
    ],
)
def test_arrays_that_are_wrong_say_which(tmp_path, changes, said):
    arrays = {key: value for key, value in (still() | changes).items() if value is not None}
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(MotionFormatError, match=said):
        read(tmp_path / "r.npz")


def test_another_ending_or_no_file(tmp_path):
    with pytest.raises(MotionFormatError, match=r"are .csv or .npz, not '.txt'"):
        read(tmp_path / "r.txt")
    with pytest.raises(MotionFormatError, match="no such file"):
        read(tmp_path / "r.csv")
