"""`mprl motion fit`: keypoints in, a motion out; one line for each mistake. And the benchmark of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mprl.errors import SettingError
from mprl.motion import SmplCharacter, edit, load
from mprl.motion.fitting import cameras as cams
from mprl.motion.fitting import smplify, synthetic
from mprl.motion.retarget import retarget
from mprl.perception.pose2d.formats import csv
from mprl.scripts.benchmarks import pose


@pytest.fixture(scope="module")
def clip():
    return retarget(edit.trim(load("walk"), 0, 0.5), SmplCharacter())


@pytest.mark.slow
def test_two_views_of_a_walk_become_a_motion_and_a_video(mprl, tmp_path, clip):
    cameras = synthetic.around(clip, views=2)
    seen = synthetic.evidence(clip, cameras)
    files = [str(csv.write(seen, tmp_path / f"view{view}.csv", view)) for view in (0, 1)]
    cams.write(cameras, tmp_path / "cameras.json")
    out, video = tmp_path / "made.npz", tmp_path / "made.mp4"
    done = mprl("motion", "fit", *files, "--out", str(out), "--cameras", str(tmp_path / "cameras.json"), "--video", str(video))
    assert done.code == 0 and "px from the keypoints" in done.out and video.stat().st_size > 1000
    found = load(out)
    assert found.num_frames == clip.num_frames
    assert np.abs(found.root_position - clip.root_position).max() < 0.05
    assert mprl("motion", "retarget", str(out), str(tmp_path / "humanoid.npz")).code == 0


@pytest.mark.slow
def test_a_fit_that_did_not_converge_is_written_and_says_so(mprl, tmp_path, monkeypatch, clip):
    cameras = synthetic.around(clip)
    table, out = csv.write(synthetic.evidence(clip, cameras), tmp_path / "seen.csv"), tmp_path / "made.npz"
    hasty = smplify.Settings(guess_steps=1, coarse_steps=1, limb_steps=1, moment_steps=1, frame_steps=12, examples=50)
    monkeypatch.setattr(smplify, "Settings", lambda **asked: hasty)
    done = mprl("motion", "fit", str(table), "--out", str(out))
    assert done.code == 1 and "did not converge: the body is" in done.out and load(out).num_frames == clip.num_frames


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.json"], "none.json: no such file"),
        (["k.json"], "does not say its frame rate; give it: --frame-rate 30"),
        (["k.json", "--frame-rate", "30"], "--image-size WIDTH HEIGHT"),
        (["k.json", "--frame-rate", "30", "--image-size", "0", "480"], "the image size must be positive, found 0 x 480"),
        (["k.json", "--frame-rate", "30", "--image-size", "640", "480", "--person", "3"], "no person 3; it shows 1"),
        (["k.json", "k.json", "--frame-rate", "30", "--image-size", "640", "480"], "2 views need to know where the cameras are"),
        (["k.json", "--out", "k.bvh"], "motions are written as .npz"),
        (["k.json", "--video", "k.avi"], "a video is written as .mp4 or .gif, not '.avi'"),
        (["k.json", "--focal", "-3"], "--focal must be a positive number"),
        (["k.json", "--focal", "inf"], "--focal must be a positive number"),
    ],
)
def test_mistakes_are_one_line(mprl, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    rows = [value for k in range(25) for value in (100.0 + k, 100.0 + 9 * k, 0.9)]
    (tmp_path / "k.json").write_text(json.dumps([{"people": [{"pose_keypoints_2d": rows}]}] * 3))
    done = mprl("motion", "fit", *words)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1


@pytest.mark.slow
def test_the_benchmark_judges_a_clip(clip):
    row = pose.judge(clip, 2, smplify.Settings())
    assert row.pa_mpjpe < 25 and row.mpjpe < 30 and row.reprojection < 6


def test_networks_are_not_judged_on_the_clips_that_they_know():
    with pytest.raises(SettingError, match="--methods needs --mocap"):
        pose.measure(None, (), ("gmm",), (1,), 1, ("both",))
