"""`mprl motion convert` and `info`: every format in, three out, and folders that go on after a bad file."""

from __future__ import annotations

import os
import pickle
import shutil

import numpy as np
import pytest

from mprl.motion import MotionClip, SmplBody, load
from mprl.motion.formats import npz

BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT LeftFoot
  {
    OFFSET 10 -90 0
    CHANNELS 3 Zrotation Xrotation Yrotation
  }
  JOINT Head
  {
    OFFSET 0 65 0
    CHANNELS 3 Zrotation Xrotation Yrotation
  }
}
MOTION
Frames: 2
Frame Time: 0.0333333
0 90 0 0 0 0 0 0 0 0 0 0
1 90 0 0 0 0 0 0 0 0 0 0
"""


@pytest.fixture
def many(tmp_path):
    """A folder as people have them: several formats, folders in it, a file of several motions, bad ones."""
    folder = tmp_path / "mocap"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "walk.bvh").write_text(BVH)
    (folder / "a" / "deep.bvh").write_text(BVH)
    poses = {"poses": np.zeros((3, 156)), "trans": np.zeros((3, 3)), "mocap_framerate": 30, "betas": np.zeros(16), "gender": "male"}
    np.savez(folder / "a" / "amass_poses.npz", **poses)
    entry = {"pose_aa": np.zeros((3, 72)), "trans_orig": np.zeros((3, 3)), "fps": 30}
    bad = entry | {"fps": -1}
    (folder / "a" / "b" / "phc.pkl").write_bytes(pickle.dumps({"one": entry, "bad": bad, "two/2": entry}))
    (folder / "cut.bvh").write_text(BVH[:-30])
    (folder / "evil.pkl").write_bytes(pickle.dumps({"frames": os.getcwd}))
    (folder / "README").write_text("about")
    return folder


def smpl_clip() -> MotionClip:
    body = SmplBody.default()
    turned = np.random.default_rng(0).normal(size=(4, 24, 4))
    return MotionClip("some", body.skeleton(), 30.0, np.zeros((4, 3)), turned / np.linalg.norm(turned, axis=-1, keepdims=True))


def test_a_folder_is_converted_and_what_is_bad_is_told_at_the_end(mprl, many):
    done = mprl("motion", "convert", many, "out")
    out = many.parent / "out"
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.npz")) == [
        "a/amass_poses.npz", "a/b/phc_one.npz", "a/b/phc_two_2.npz", "a/deep.npz", "walk.npz",
    ]  # fmt: skip
    assert done.code == 1 and "wrote 5 motions" in done.out
    assert "1 other files left alone (README)" in done.out
    bad = [line for line in done.out.splitlines() if line.startswith("could not be converted: ")]
    assert len(bad) == 3 and "3 could not be converted, of 6 files" in done.out
    assert "phc.pkl, key \"fps\": expected frames per second, found -1 (motion 'bad')" in bad[0]
    assert "cut.bvh" in bad[1] and "expected 2 frames, found 1 lines of numbers; is the file cut off?" in bad[1]
    assert f"evil.pkl: holds {os.getcwd.__module__}.getcwd, which is not data; refused" in bad[2]
    assert load(out / "a" / "deep.npz").skeleton.names == ("Hips", "LeftFoot", "Head")


def test_a_conversion_is_taken_up_where_it_stopped(mprl, many):
    assert mprl("motion", "convert", many / "a", "out").code == 1
    made = many.parent / "out" / "deep.npz"
    os.utime(made, (2**31, 2**31))
    (many.parent / "out" / "amass_poses.npz").unlink()
    done = mprl("motion", "convert", many / "a", "out", "--skip-existing")
    assert "1 there already" in done.out and made.stat().st_mtime == 2**31
    assert (many.parent / "out" / "amass_poses.npz").is_file()


def test_all_goes_well_with_code_0(mprl, many):
    done = mprl("motion", "convert", many / "walk.bvh", many / "a" / "deep.bvh", "jump", "out", "--to", "bvh")
    assert done.code == 0 and "wrote 3 motions" in done.out
    assert sorted(os.listdir(many.parent / "out")) == ["deep.bvh", "jump.bvh", "walk.bvh"]


def test_two_files_for_one_place_are_told(mprl, many):
    shutil.copy(many / "a" / "amass_poses.npz", many / "walk.npz")
    done = mprl("motion", "convert", many, "out")
    assert done.code == 1 and "walk.npz: out/walk.npz is written from" in done.out


def test_a_folder_can_be_converted_in_place_but_nothing_that_is_read_is_written_over(mprl, many):
    amass = many / "a" / "amass_poses.npz"
    before = amass.read_bytes()
    done = mprl("motion", "convert", many, many)
    assert done.code == 1 and "wrote 4 motions" in done.out and (many / "walk.npz").is_file()
    assert f"could not be converted: {amass}: would be written over the motion that is read; write elsewhere" in done.out
    assert "would be written over" in mprl("motion", "convert", amass, amass).mistake
    assert amass.read_bytes() == before


def test_a_folder_that_cannot_be_made_and_a_single_bad_file_are_mistakes(mprl, many):
    (many.parent / "file").write_text("")
    assert mprl("motion", "convert", many, "file").mistake == "file: expected a folder, cannot be made: File exists"
    assert mprl("motion", "convert", many, "file/out").mistake == "file/out: expected a folder, cannot be made: Not a directory"
    assert "is the file cut off?" in mprl("motion", "convert", many / "cut.bvh", "out").mistake
    (many.parent / "out" / "a").write_text("")  # in the way of one of several folders
    done = mprl("motion", "convert", many, "out")
    assert done.code == 1 and "wrote 1 motions" in done.out and "out/a: expected a folder, cannot be made: File exists" in done.out


@pytest.mark.parametrize(("name", "words"), [("x.npz", ()), ("x.bvh", ()), ("x.npz", ("--to", "amass"))])
def test_every_format_is_written_and_read_back(mprl, tmp_path, name, words):
    clip = smpl_clip()
    npz.write(clip, tmp_path / "some.npz")
    assert mprl("motion", "convert", "some.npz", name, *words).code == 0
    again = load(tmp_path / name)
    order = [again.skeleton.names.index(joint) for joint in clip.skeleton.names]
    assert (1 - np.abs((again.rotations[:, order] * clip.rotations).sum(axis=-1))).max() < 1e-9
    assert np.abs(again.root_position - clip.root_position).max() < 1e-9


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("walk",), "expected a motion and where to write it: mprl motion convert FILE... OUT"),
        (("walk", "walk.bvh", "--to", "npz"), "walk.bvh: motions are written as .npz or .bvh, not '.bvh'"),
        (("walk", "out.npz", "--to", "amass"), "walk: its joints are not SMPL's; retarget it first"),
        (("walk", "jump", "out.npz"), "out.npz: several motions are written to a folder; name one"),
        (("mocap/walk.bvh", "out.npz", "--scale", "parsec"), "scale: expected metres in a unit of the file"),
        (("walk", "out.npz", "--to", "fbx"), "--to: expected one of "),
        (("walk", "none/out.npz"), "none/out.npz: the folder none does not exist; make it first"),
        (("empty", "out"), "empty: no motion files in it; known are .txt, .json, .npz, .bvh, .csv"),
    ],
)
def test_mistakes_are_told(mprl, many, words, says):
    (many.parent / "empty").mkdir()
    assert mprl("motion", "convert", *words).mistake.startswith(says)


def test_info_of_every_format(mprl, many):
    assert "centimetres, y up, facing z" in mprl("motion", "info", many / "walk.bvh").out
    assert "0.02 m" in mprl("motion", "info", many / "walk.bvh", "--scale", "0.02").out
    said = mprl("motion", "info", many / "a" / "amass_poses.npz").out
    assert "SMPL" in said and "male, betas 0.00" in said
    assert "say which: clip='...' (--clip), of one, bad, two/2" in mprl("motion", "info", many / "a" / "b" / "phc.pkl").mistake
    assert "3 frames at 30 Hz" in mprl("motion", "info", many / "a" / "b" / "phc.pkl", "--clip", "two/2").out
