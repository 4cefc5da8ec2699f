"""A clip is immutable, checked when it is made, and says in one line what is wrong with it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from mprl.errors import MotionFormatError, SettingError, UnknownNameError
from mprl.motion import MotionClip, Skeleton, load, motions
from mprl.motion.clip import resample

SKELETON = Skeleton(("root", "arm"), (-1, 0), np.array([[0, 0, 0], [0, 0.3, 0]]))
STILL = np.tile([1.0, 0, 0, 0], (4, 2, 1))


def clip(**changes) -> MotionClip:
    values = dict(name="waving", skeleton=SKELETON, frame_rate=10.0, root_position=np.zeros((4, 3)), rotations=STILL)
    return MotionClip(**(values | changes))


def test_a_clip_cannot_be_changed():
    made = clip(contacts=np.ones((4, 2), dtype=bool), betas=np.zeros(10))
    for array in (made.root_position, made.rotations, made.contacts, made.betas, made.skeleton.offsets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(FrozenInstanceError):
        made.name = "other"


def test_a_clip_keeps_a_copy():
    positions, contacts = np.zeros((4, 3)), np.ones((4, 2), dtype=bool)
    made = clip(root_position=positions, contacts=contacts)
    positions[:], contacts[:] = 7, False
    assert not made.root_position.any() and made.contacts.all()


def test_four_frames_at_ten_hertz_last_three_tenths_of_a_second():
    assert clip().num_frames == 4 and clip().duration == pytest.approx(0.3)


def test_a_cycle_carries_the_root_along_the_ground():
    positions = np.array([[0, 0, 1], [1, 0, 1], [2, 1, 1], [3, 1, 1.5]])
    assert clip(root_position=positions, loop="wrap").cycle_displacement.tolist() == [3, 1, 0]
    assert clip(root_position=positions).cycle_displacement.tolist() == [0, 0, 0]


def test_raised_moves_up_and_nothing_else():
    made = clip().raised(0.25)
    assert (made.root_position == [0, 0, 0.25]).all() and np.array_equal(made.rotations, STILL)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"root_position": np.zeros((1, 3)), "rotations": STILL[:1]}, "at least 2 frames, found 1"),
        ({"root_position": np.zeros((3, 3))}, r"found \(3, 3\) and \(4, 2, 4\)"),
        ({"rotations": STILL[:, :1]}, r"found \(4, 3\) and \(4, 1, 4\)"),
        ({"rotations": 1.1 * STILL}, "frame 0: rotation of 'root' has length 1.1, expected 1"),
        ({"rotations": np.where(np.arange(4)[:, None, None] == 2, np.nan, STILL)}, "frame 2: rotations must be finite"),
        ({"root_position": np.array([[0.0] * 3, [0] * 3, [0] * 3, [0, np.inf, 0]])}, "frame 3: root position must be finite"),
        ({"frame_rate": 0.0}, "frame rate must be positive, found 0"),
        ({"frame_rate": np.nan}, "frame rate"),
        ({"frame_rate": 1e-5}, "at most an hour"),
        ({"loop": "forever"}, "found 'forever'"),
        ({"contacts": np.ones((3, 2), dtype=bool)}, r"expected contacts \(4, feet\), found \(3, 2\)"),
        ({"betas": np.array([np.nan])}, "betas"),
    ],
)
def test_what_cannot_be_is_refused(changes, says):
    with pytest.raises(MotionFormatError, match=says) as caught:
        clip(**changes)
    assert str(caught.value).startswith("waving") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"parents": (0, 0)}, {"parents": (-1, 1)}, {"parents": (-1, -1)}, {"parents": (-1,)}, {"offsets": np.zeros((3, 3))},
     {"offsets": np.full((2, 3), np.nan)}, {"names": ()}],
)  # fmt: skip
def test_a_skeleton_is_one_tree_from_its_root(changes):
    with pytest.raises(ValueError, match="skeleton"):
        replace(SKELETON, **changes)


def test_resampling_even_frames_changes_nothing():
    positions = np.random.default_rng(0).normal(size=(4, 3))
    again, turned = resample([0, 0.1, 0.2, 0.3], 10, positions, STILL)
    np.testing.assert_allclose(again, positions, atol=1e-12)
    np.testing.assert_allclose(turned, STILL, atol=1e-12)


def test_a_wrong_name_suggests_the_nearest_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "walk" in motions()
    with pytest.raises(UnknownNameError) as caught:
        load("wlak")
    assert str(caught.value) == "no motion named 'wlak'; did you mean 'walk'? (mprl list motions)"


def test_what_cannot_be_said_of_a_shipped_clip_is_a_mistake():
    with pytest.raises(SettingError, match=r"walk\.npz: 'scale' can be said of \.bvh files only"):
        load("walk", scale="inch")


def test_a_folder_is_no_motion(tmp_path):
    with pytest.raises(MotionFormatError, match="expected a motion file, found a folder"):
        load(tmp_path)


def test_a_folder_named_like_a_clip_does_not_hide_it(monkeypatch, tmp_path):
    (tmp_path / "walk").mkdir()  # agent.save("walk") makes one
    monkeypatch.chdir(tmp_path)
    assert load("walk").name
