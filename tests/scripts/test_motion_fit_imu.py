"""`mprl motion simulate-imu` and `fit-imu`: from a motion to readings and back."""

from __future__ import annotations

import numpy as np
import pytest

from mprl.motion import load
from mprl.motion.body.joints import JOINTS
from mprl.motion.fitting import imu
from mprl.motion.fitting.imu import sip
from mprl.motion.formats import npz


@pytest.fixture
def readings(tmp_path):
    """Of somebody who stands in a T-pose and then turns."""
    angle = np.maximum(0.0, np.arange(120) / 60 - 1.0)
    orientation = np.zeros((120, 6, 4))
    orientation[..., 0], orientation[..., 3] = np.cos(angle / 2)[:, None], np.sin(angle / 2)[:, None]
    return imu.write(imu.Readings(imu.NAMES, orientation, np.zeros((120, 6, 3)), 60.0), tmp_path / "turn.csv")


def test_a_motion_there_and_back(mprl):
    done = mprl("motion", "simulate-imu", "walk", "walk.csv", "--seconds", "1", "--faults", "none")
    assert (done.code, done.err) == (0, "") and done.out.startswith("wrote walk.csv: left_forearm, right_forearm")
    done = mprl("motion", "fit-imu", "walk.csv", "--out", "walk.npz", "--method", "network")
    assert (done.code, done.err) == (0, "") and "wrote walk.npz: " in done.out
    clip = load("walk.npz")
    assert clip.skeleton.names == JOINTS and clip.frame_rate == 60 and clip.duration > 3


def test_some_sensors_and_a_fit_that_is_not_finished(mprl, readings, monkeypatch):
    few = sip.SipSettings(iterations=10)
    monkeypatch.setattr(sip, "SipSettings", lambda: few)
    done = mprl("motion", "fit-imu", readings, "--out", "turn.npz", "--method", "sip", "--sensors", "pelvis", "head")
    assert done.code == 1 and done.out.startswith("pelvis, head: did not converge: ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["turn.txt", "--out", "a.npz"], "turn.txt: recordings of inertial sensors are .csv or .npz, not '.txt'"),
        (["none.csv", "--out", "a.npz"], "none.csv: no such file"),
        (["turn.csv", "--out", "a.bvh"], "a.bvh: motions are written as .npz, not '.bvh'"),
        (["turn.csv", "--out", "none/a.npz"], "none/a.npz: the folder none does not exist; make it first"),
        (["turn.csv", "--out", "a.npz", "--sensors", "hed"], "no sensor named 'hed'; did you mean 'head'? (turn has left_forearm"),
        (["turn.csv", "--out", "a.npz", "--calibration", "1.9"], "turn.csv: 120 frames at 60 Hz are too short"),
        (["turn.csv", "--out", "a.npz", "--method", "tip"], "--method"),
        (["turn.csv", "--out", "a.npz", "--betas", "nan"], "betas must be within -20 and 20, found nan"),
        (["turn.csv", "--out", "a.npz", "--betas", "1e30"], "betas must be within -20 and 20, found 1e+30"),
    ],
)
def test_a_mistake_is_one_line(mprl, readings, words, says):
    assert says in mprl("motion", "fit-imu", *words).mistake


@pytest.mark.slow
def test_what_cannot_be_simulated(mprl):
    assert "not '.txt'" in mprl("motion", "simulate-imu", "walk", "walk.txt").mistake
    assert "no sensor named 'hed'" in mprl("motion", "simulate-imu", "walk", "walk.csv", "--sensors", "hed").mistake
    for calibration in ("nan", "-1", "1e9"):
        done = mprl("motion", "simulate-imu", "walk", "walk.csv", "--seconds", "0", "--calibration", calibration)
        assert "calibration must be 0 to 60 s, found" in done.mistake
    for seconds in ("nan", "-3", "1e9"):
        assert "seconds must be 0 to 3600, found" in mprl("motion", "simulate-imu", "walk", "walk.csv", "--seconds", seconds).mistake
    assert "seed must be 0" in mprl("motion", "simulate-imu", "walk", "walk.csv", "--seed", str(10**30)).mistake


def test_readings_are_not_written_over_their_motion(mprl):
    npz.write(load("walk"), "own.npz")
    assert "own.npz: would be written over the motion" in mprl("motion", "simulate-imu", "own.npz", "own.npz").mistake
    assert load("own.npz").num_frames == load("walk").num_frames
