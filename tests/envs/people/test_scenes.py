"""Pictures of people: what is said of them is true of their pixels, and they follow from the seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mprl.envs.people.clothes import PARTS
from mprl.envs.people.film import film
from mprl.envs.people.poses import Poses, on_body
from mprl.envs.people.recording import record_people
from mprl.envs.people.scenes import HIDDEN, OUTSIDE, SEEN, SEVERAL, SINGLE, Picture, Scenery, Studio, visibility
from mprl.errors import DatasetError, SettingError
from mprl.motion import edit, load
from mprl.motion.body import pose_corrections
from mprl.perception.pose2d import layouts

NAMES = layouts.points("coco_17")
ALONE = replace(SINGLE, people=1, boxes=0.0)


@pytest.fixture(scope="module")
def poses() -> Poses:
    return Poses.of(["walk"])


@pytest.fixture(scope="module")
def pictures(poses: Poses) -> list[Picture]:
    return Studio(poses, SEVERAL).draw(6, seed=3)


def same(a: Picture, b: Picture) -> bool:
    return all(np.array_equal(value, getattr(b, name)) for name, value in vars(a).items())


def test_a_picture_follows_from_its_seed_and_number(poses: Poses, pictures: list[Picture]):
    assert same(Studio(poses, SEVERAL).draw(1, seed=3, first=4)[0], pictures[4])
    assert not np.array_equal(pictures[0].image, pictures[1].image)


def test_a_keypoint_is_hidden_by_what_is_nearer_and_not_the_person_itself():
    owner = np.full((4, 4), -1)
    owner[:, 2:] = 1  # somebody else at 3 m
    owner[0, 0] = 0
    surface = np.where(owner == 1, 3.0, np.inf).astype(np.float32)
    surface[0, 0] = 1.0  # the person's own arm
    keypoints = np.array([[2.5, 1.5], [3.5, 0.5], [0.5, 0.5], [0.5, 3.5], [-0.1, 1.0], [1.0, 4.0], [1.0, 1.0]], np.float32)
    depth = np.array([4.0, 2.0, 4.0, 4.0, 4.0, 4.0, -1.0], np.float32)
    assert visibility(keypoints, depth, 0, owner, surface).tolist() == [HIDDEN, SEEN, SEEN, SEEN, OUTSIDE, OUTSIDE, OUTSIDE]


def test_the_pixel_of_a_seen_keypoint_shows_that_person_and_of_a_hidden_one_something_else(pictures: list[Picture]):
    """Joints lie inside the body; a pixel of the labels is sampled beside its middle, so that those at an edge may miss."""
    seen, hidden = [], []
    for one in pictures:
        for who in range(one.count):
            for name, (x, y), visible in zip(NAMES, one.keypoints[who], one.visible[who], strict=True):
                if name.split("_")[-1] in ("hip", "knee", "shoulder") and visible != OUTSIDE:
                    (seen if visible == SEEN else hidden).append(one.person[int(y), int(x)] == who + 1)
    assert np.mean(seen) > 0.95
    assert np.mean(hidden) < 0.1


def test_parts_are_where_their_joints_are(poses: Poses):
    found = []
    for one in Studio(poses, replace(ALONE, elevation=(0.0, 10.0))).draw(8, seed=1):
        for name in ("left_knee", "right_knee"):
            x, y = one.keypoints[0, NAMES.index(name)]
            found.append(PARTS[one.part[int(y), int(x)]].split("_")[-1] in ("thigh", "shank"))
        assert set(np.unique(one.person)) == {0, 1}
        assert np.array_equal(one.part > 0, one.person > 0)
    assert np.mean(found) > 0.9


def test_all_of_somebody_alone_is_in_the_box_and_the_box_is_full(poses: Poses):
    for one in Studio(poses, ALONE).draw(3, seed=2):
        left, _, width, height = one.box[0]
        rows, columns = np.nonzero(one.person)
        assert columns.min() >= left - 1
        assert columns.max() < left + width + 1
        assert rows.max() - rows.min() + 1 == pytest.approx(height, abs=2)
        assert max(width, height) / 96 <= SINGLE.fill[1] + 1e-3


def test_those_who_are_not_there_have_nothing(pictures: list[Picture]):
    for one in pictures:
        assert not one.visible[one.count :].any()
        assert not one.box[one.count :].any()


def test_varied_poses_stay_within_what_joints_can_do_or_the_clip_did(poses: Poses):
    low, high = pose_corrections.joint_ranges()
    drawn, clip = poses.draw(200, np.random.default_rng(0), varied=1.0, free=0.0)
    most = np.maximum(high, poses.pose.max(axis=0))[1:]
    least = np.minimum(low, poses.pose.min(axis=0))[1:]
    assert (drawn[:, 1:] <= most + 1e-5).all()
    assert (drawn[:, 1:] >= least - 1e-5).all()
    assert (clip == 0).all()


def test_joint_ranges_are_those_of_random_poses():
    from mprl.motion import rotations as rot

    low, high = pose_corrections.joint_ranges()
    drawn = rot.to_rotation_vector(pose_corrections.random_poses(500, np.random.default_rng(0))).numpy()
    assert (drawn >= low - 1e-6).all()
    assert (drawn <= high + 1e-6).all()


def test_a_dataset_that_was_interrupted_comes_to_the_same_pictures(poses: Poses, tmp_path: Path):
    studio = Studio(poses, Scenery(32, 32, people=1))
    record_people(tmp_path / "twice", studio, 3, seed=5, progress=False)
    twice = record_people(tmp_path / "twice", studio, 5, seed=5, progress=False)
    once = record_people(tmp_path / "once", studio, 5, seed=5, progress=False)
    batches = [next(data.batches(5, seed=None)) for data in (twice, once)]
    assert len(twice) == 5
    assert all((batches[0][name] == batches[1][name]).all() for name in batches[0])
    with pytest.raises(DatasetError, match="seed 5, not 6"):
        record_people(tmp_path / "once", studio, 6, seed=6, progress=False)


def test_a_film_is_of_one_person_before_one_background_and_keypoints_are_the_clips_joints(poses: Poses):
    clip = on_body(edit.trim(load("walk"), 0.0, 0.2))
    pictures = film(Studio(poses), clip, seed=4, scenery=replace(ALONE, height=48, width=48, noise=0.0, blur=0.0))
    assert len(pictures) == clip.num_frames
    first, last = pictures[0], pictures[-1]
    nobody = (first.person == 0) & (last.person == 0)
    nobody[1:, 1:] &= nobody[:-1, :-1]
    nobody[:-1, :-1] &= nobody[1:, 1:]  # a pixel at an edge shows both
    assert np.abs(first.image.astype(int) - last.image)[nobody].mean() < 1
    # the hips' middle moves as the root does: by the same way in the picture for the same way in the world, far from the camera
    hips = np.array([one.keypoints[0, [11, 12]].mean(axis=0) for one in pictures])
    steps = np.linalg.norm(np.diff(clip.root_position, axis=0), axis=1)
    seen = np.linalg.norm(np.diff(hips, axis=0), axis=1)
    assert seen.sum() > 0
    assert seen / seen.sum() == pytest.approx(steps / steps.sum(), abs=0.1)


def test_scenery_that_cannot_be_is_told_in_a_line():
    for wrong, said in (({"focus": "second"}, "first or all"), ({"patterns": ("plaid",)}, "stripes"), ({"people": 0}, "people")):
        with pytest.raises(SettingError, match=said):
            Scenery(**wrong)  # type: ignore[arg-type]
