"""`mprl motion retarget` and `report`: a file or a folder, a table of before and after, one line for each mistake."""

from __future__ import annotations

import numpy as np
import pytest

from mprl.motion import edit, load
from mprl.motion.formats import bvh, npz


@pytest.mark.slow
def test_a_motion_goes_to_smpl_and_back(mprl, tmp_path):
    there, back = tmp_path / "there.npz", tmp_path / "back.npz"
    done = mprl("motion", "retarget", "walk", str(there), "--character", "smpl")
    assert (done.code, done.err) == (0, "") and f"wrote {there}" in done.out
    assert "before" in done.out and "after" in done.out and "sliding" in done.out
    assert len(load(there).skeleton.names) == 24
    assert mprl("motion", "retarget", str(there), str(back)).code == 0
    assert load(back).skeleton.names == load("walk").skeleton.names
    done = mprl("motion", "report", str(there), "walk")
    assert done.code == 0 and "as it is" in done.out and "before" in done.out


@pytest.mark.slow
def test_depth_and_sliding_are_drawn(mprl, tmp_path):
    picture = tmp_path / "feet.png"
    assert mprl("motion", "report", "walk", "--plot", str(picture)).code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert mprl("motion", "report", "walk", "--plot", str(tmp_path / "none" / "feet.png")).code == 2


def test_a_folder_goes_on_after_a_bad_file_and_reports_at_the_end(mprl, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deeper").mkdir(parents=True)
    npz.write(edit.trim(load("jump"), 0, 0.4), source / "a.npz")
    (source / "broken.txt").write_text("{")
    npz.write(edit.trim(load("punch"), 0, 0.4), source / "deeper" / "z.npz")
    done = mprl("motion", "retarget", str(source), str(out), "--character", "smpl")
    assert done.code == 1
    assert sorted(file.relative_to(out).as_posix() for file in out.rglob("*.npz")) == ["a.npz", "deeper/z.npz"]
    assert "wrote 2 motions of 3 files" in done.out and "broken.txt, line 1: expected JSON" in done.out and "mean" in done.out


def test_what_is_read_is_not_written_over(mprl, tmp_path):
    source = npz.write(edit.trim(load("jump"), 0, 0.4), tmp_path / "in.npz")
    before = source.read_bytes()
    assert "would be written over" in mprl("motion", "retarget", source, source, "--character", "smpl").mistake
    assert "would be written over" in mprl("motion", "retarget", tmp_path, tmp_path, "--character", "smpl").mistake
    assert source.read_bytes() == before


@pytest.mark.slow
def test_unit_and_axes_of_a_file_can_be_said_as_when_it_is_converted(mprl, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    bvh.write(edit.trim(load("walk"), 0, 0.3), source / "walk.bvh")
    npz.write(edit.trim(load("jump"), 0, 0.3), source / "jump.npz")  # of which no unit can be said
    how = ("--scale", "0.012", "--up", "y")
    assert mprl("motion", "convert", source / "walk.bvh", tmp_path / "read.npz", *how).code == 0
    assert load(tmp_path / "read.npz").root_position[0, 2] == pytest.approx(1.2 * load(source / "walk.bvh").root_position[0, 2])
    for source_, out, *words in ((tmp_path / "read.npz", "wanted.npz"), (source / "walk.bvh", "found.npz", *how), (source, "out", *how)):
        assert mprl("motion", "retarget", source_, tmp_path / out, "--character", "smpl", *words).code == 0
    wanted = load(tmp_path / "wanted.npz")
    for found in (load(tmp_path / "found.npz"), load(tmp_path / "out" / "walk.npz")):
        assert np.allclose(found.root_position, wanted.root_position, atol=1e-9)
        assert np.allclose(found.rotations, wanted.rotations, atol=1e-9)
    reports = [
        mprl("motion", "report", *words).out for words in ((tmp_path / "read.npz",), (source / "walk.bvh", *how), (source / "walk.bvh",))
    ]
    assert reports[0] == reports[1] != reports[2]


@pytest.mark.parametrize("command", [("retarget", "FILE", "x.npz"), ("report", "FILE"), ("render", "FILE", "x.mp4"), ("view", "FILE"),
                                     ("info", "FILE"), ("edit", "FILE", "x.npz")], ids=lambda words: words[0])  # fmt: skip
def test_a_unit_of_a_file_that_has_none_is_a_mistake(mprl, tmp_path, command):
    npz.write(edit.trim(load("jump"), 0, 0.3), tmp_path / "jump.npz")
    words = [str(tmp_path / "jump.npz") if word == "FILE" else word for word in command]
    assert mprl("motion", *words, "--scale", "cm").mistake == f"{tmp_path / 'jump.npz'}: 'scale' can be said of .bvh files only"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["retarget", "walk", "x.txt"], "x.txt: motions are written as .npz"),
        (["retarget", "walk", "x.npz", "--character", "smlp"], "no character named 'smlp'; did you mean 'smpl'?"),
        (["retarget", "walk", "x.npz", "--character", "none.xml"], "none.xml: no such character file"),
        (["retarget", "walk", "x.npz", "--map", "none.toml"], "none.toml: expected TOML with names of joints, cannot be read"),
        (["retarget", ".", "out"], ".: holds no motion files"),
        (["retarget", "wlak", "out"], "no motion named 'wlak'; did you mean 'walk'?"),
        (["retarget", "walk", "none/x.npz"], "none/x.npz: the folder none does not exist; make it first"),
        (["retarget", "walk", "x.npz", "--plot", "none/x.png"], "none/x.png: the folder none does not exist; make it first"),
        (["report", "walk", "jump", "--plot", "x.png"], "a plot is of one motion, found 2"),
        (["report"], "expected at least one motion"),
    ],
)
def test_mistakes_are_one_line(mprl, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    done = mprl("motion", *words)
    assert done.code == 2 and says in done.err and done.err.count("\n") == 1
    assert not list(tmp_path.glob("*.npz"))
