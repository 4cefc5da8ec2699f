"""`mprl motion retarget` and `report`: a file or a folder, a table of before and after, one line for each mistake."""

from __future__ import annotations

import pytest

from mprl.motion import edit, load
from mprl.motion.formats import npz


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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["retarget", "walk", "x.txt"], "x.txt: motions are written as .npz"),
        (["retarget", "walk", "x.npz", "--character", "smlp"], "no character named 'smlp'; did you mean 'smpl'?"),
        (["retarget", "walk", "x.npz", "--character", "none.xml"], "none.xml: no such character file"),
        (["retarget", "walk", "x.npz", "--map", "none.toml"], "none.toml: expected TOML with names of joints, cannot be read"),
        (["retarget", ".", "out"], ".: holds no motion files"),
        (["report", "walk", "jump", "--plot", "x.png"], "a plot is of one motion, found 2"),
        (["report"], "expected at least one motion"),
    ],
)
def test_mistakes_are_one_line(mprl, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    done = mprl("motion", *words)
    assert done.code == 2 and says in done.err and done.err.count("\n") == 1
    assert not list(tmp_path.glob("*.npz"))
