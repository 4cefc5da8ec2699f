"""`mprl motion edit`: one change after the other, in the order given."""

from __future__ import annotations

import numpy as np
import pytest

from mprl.motion import load


def test_changes_are_made_in_the_order_given(mprl, tmp_path):
    out = tmp_path / "made.npz"
    # half a second of a motion that is then played twice as fast, or half a second of the fast motion
    assert mprl("motion", "edit", "walk", str(out), "--trim", "0", "0.5", "--speed", "2").code == 0
    assert load(out).duration == pytest.approx(0.25)
    assert mprl("motion", "edit", "walk", str(out), "--speed=2", "--trim", "0", "0.5").code == 0
    assert load(out).duration == pytest.approx(0.5)


def test_every_change_has_its_option(mprl, tmp_path):
    out = tmp_path / "made.npz"
    words = ["--turn", "90", "--mirror", "--smooth", "6", "--resample", "30", "--blend", "walk", "--loop", "--then", "punch"]
    done = mprl("motion", "edit", "walk", str(out), *words)
    assert (done.code, done.err) == (0, "") and done.out.startswith(f"wrote {out}: a motion of ")
    travelled = np.diff(load(out).root_position[:25], axis=0).sum(axis=0)
    assert travelled[1] < -5 * abs(travelled[0])  # turned to the left, then seen in the mirror: it walks to the right


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["walk", "made.txt"], "made.txt: motions are written as .npz"),
        (["walk", "made.npz", "--trim", "3", "4"], "walk: cannot keep 3 to 4 s of a motion of 1.067 s"),
        (["walk", "none/made.npz", "--mirror"], "none/made.npz: the folder none does not exist; make it first"),
        (["walk", "made.npz", "--trim", "3"], "--trim: expected FLOAT FLOAT, found '3'"),
        (["walk", "made.npz", "--resample", "1e9"], "walk: expected a frame rate of at most 10000 Hz, found 1e+09"),
        (["walk", "made.npz", "--speed", "1e300"], "walk: expected a frame rate of at most 10000 Hz, found 6e+301"),
        (["walk", "made.npz", "--smoth", "3"], "no option named '--smoth'; did you mean '--smooth'?"),
    ],
)
def test_mistakes_are_one_line(mprl, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    done = mprl("motion", "edit", *words)
    assert done.code == 2 and says in done.err and done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
