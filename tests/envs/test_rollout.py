"""Cleaning by physics: what a character does is a motion with the frames of what it imitates, or one line that says when it fell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.envs.imitation.rollout import between, clean
from mprl.errors import SettingError
from mprl.motion import HUMANOID, edit, load
from mprl.motion.retarget import report, target_of

TARGET = target_of(HUMANOID)


@pytest.fixture(scope="module")
def standing():
    """The half second of a squat before it goes down."""
    return edit.trim(load("squat"), 0, 0.5)


def nothing(observation):
    """A residual action of 0 asks for the reference's own torques."""
    return torch.zeros(len(observation), HUMANOID.model.nu)


def worlds(clip, **settings):
    return DeepMimicVectorEnv(motion=clip, num_threads=1, output="torch", **settings)


def test_who_stands_still_is_recorded_standing_still(standing):
    before, after = clean(worlds(standing), nothing, TARGET, standing)
    assert (
        after.num_frames == standing.num_frames and after.frame_rate == standing.frame_rate and after.skeleton.names == HUMANOID.body_names
    )
    assert np.abs(after.root_position[0] - before.root_position[0]).max() < 1e-6
    assert np.abs(after.root_position - before.root_position).max() < 0.03
    assert report.measure(after, TARGET).sliding < 3.0


@pytest.mark.parametrize("rate", [30.0, 50.0])
def test_frames_are_those_of_the_motion_whatever_its_rate(standing, rate):
    clip = edit.resample(standing, rate)
    after = clean(worlds(clip), nothing, TARGET, clip)[1]
    assert (after.num_frames, after.frame_rate) == (clip.num_frames, clip.frame_rate)


def test_a_turn_of_constant_speed_and_a_parabola_are_met_between_frames():
    t, wanted = np.arange(7) / 30, np.array([0.0, 0.01, 0.1, 0.155, 0.2])
    turn = lambda x: np.stack((np.cos(x), 0 * x, 0 * x, np.sin(x)), axis=-1)[:, None]  # noqa: E731  2 rad/s about the vertical
    fall = lambda x: np.stack((x, 0 * x, 1 - 4.905 * x**2), axis=-1)  # noqa: E731
    place, turned = between(fall(t), turn(t), wanted)
    assert np.abs(place - fall(wanted)).max() < 1e-9
    assert np.abs(np.abs((turned * turn(wanted)).sum(-1)) - 1).max() < 1e-9


def test_a_fall_says_when(standing):
    limp = lambda observation: torch.ones(len(observation), HUMANOID.model.nu)  # noqa: E731
    long = edit.trim(load("squat"), 0, 2.0)
    with pytest.raises(SettingError, match=r"falls after 0\.\d\d of \d\.\d\d s|is more than 0\.5 m off"):
        clean(worlds(long), limp, TARGET, long)


def test_only_level_ground_and_imitation_alone_are_cleaned(standing):
    with pytest.raises(SettingError, match="level ground"):
        clean(worlds(standing, terrain="stairs"), nothing, TARGET, standing)
