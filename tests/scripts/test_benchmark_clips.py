"""The benchmark of one policy over many clips: what its tables say, and a short run of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mprl.errors import SettingError
from mprl.motion import load
from mprl.motion.edit import trim
from mprl.motion.formats import npz
from mprl.scripts.benchmarks import clips


def result(success: float, error: float) -> dict:
    one = {"success_rate": success, "mpjpe_global_mm": error, "mpjpe_local_mm": error / 2, "normalized_return": success}
    return {"clips": [{"clip": "walk", **one}, {"clip": "kick", **one}], "library": {**one, "clips_succeeded": success}}


def test_adaptive_sampling_is_compared_with_uniform():
    made = clips.figures({clips.UNIFORM: result(0.5, 80.0), clips.ADAPTIVE: result(0.75, 40.0)})
    success, _, error, *_ = made
    assert (success.ours, success.peer, success.ratio_to_peer) == (0.75, 0.5, 1.5)
    assert (error.ours, error.peer, error.ratio_to_peer) == (40, 80, 2)


def test_one_run_alone_has_no_peer():
    assert all(figure.peer is None for figure in clips.figures({clips.UNIFORM: result(0.5, 80.0)}))


def test_a_clip_is_a_line():
    table = clips.overview(["a", "b"], {clips.ZERO: result(0.25, 100.0), clips.UNIFORM: result(0.5, 80.0)})
    assert table.rows[0] == ("a", "25% · 100 · 50", "50% · 80 · 40") and [row[0] for row in table.rows] == ["a", "b", "all"]


def test_students_learn_from_the_humanoids_that_ship():
    known = clips.experts()
    assert known["walk"] == "walk" and known["squat"] == "squat" and "smpl-walk" not in known.values()


def test_a_clip_without_an_expert_is_named(tmp_path):
    with pytest.raises(SettingError, match=r"no agent ships that imitates mine\.npz; leave it out of --motions"):
        clips.run(clips.DISTILLED, ["walk", "mine.npz"], 100, 4, 0, 1, tmp_path / "run")


def test_one_clip_is_not_several(tmp_path):
    with pytest.raises(SettingError, match="at least 2, found 1"):
        clips.measure(["walk"], [clips.UNIFORM], 100, 4, 0, 1, tmp_path)


@pytest.mark.slow
def test_a_short_run_is_trained_judged_and_read_back(mprl, undrawn, tmp_path):
    for name in ("squat", "turn"):
        npz.write(trim(load(name), 0.0, 0.5), tmp_path / f"{name}.npz")
    words = (
        "benchmark",
        "clips",
        "--motions",
        "squat.npz",
        "turn.npz",
        "--steps",
        "256",
        "--num-envs",
        "8",
        "--threads",
        "1",
        "--out",
        "r",
    )
    done = mprl(*words, "--json", "found.json")
    assert done.code == 0, done.err
    assert Path("r/adaptive-seed0/clips.json").is_file() and "zero actions" in done.out
    again = mprl(*words)
    assert again.code == 0 and "training" not in again.out and "judging" not in again.out
    assert "other settings" in mprl(*words, "--num-envs", "16").mistake


@pytest.mark.slow
def test_a_short_distillation_is_judged_and_read_back(mprl, undrawn):
    words = ("benchmark", "clips", "--motions", "squat", "kick", "--ways", "distilled", "--steps", "512", "--num-envs", "8", "--out", "r")
    done = mprl(*words)
    assert done.code == 0, done.err
    assert Path("r/distilled-seed0/clips.json").is_file() and "distilled" in done.out
    again = mprl(*words)
    assert again.code == 0 and "judging" not in again.out
    assert "Going on from step 512" in mprl(*words, "--steps", "1024").out
    assert "other settings" in mprl(*words, "--num-envs", "16").mistake
