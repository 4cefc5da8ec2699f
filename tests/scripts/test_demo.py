"""The demo: a character trained, measured and filmed by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mprl.scripts.demo import unused_folder


def test_each_demo_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unused_folder() == Path("runs/demo")
    for expected in ("runs/demo-2", "runs/demo-3"):
        unused_folder().mkdir(parents=True)
        assert unused_folder() != Path(expected)  # an empty folder is free
        (unused_folder() / "config.json").write_text("{}")
        assert unused_folder() == Path(expected)


@pytest.mark.slow
def test_the_demo_leaves_everything(mprl, can_render):
    done = mprl("demo", "--minutes", "0.02", "--out", "demo")
    assert (done.code, done.err) == (0, "")
    found = {path.name for path in Path("demo").iterdir()}
    names = "config.json weights.safetensors metrics.csv learning_curve.png evaluation.json phase_error.png video.mp4"
    assert set(names.split()) <= found and any(name.startswith("events.") for name in found)
    results = json.loads(Path("demo/evaluation.json").read_text())
    share = f"It keeps going for 10 s in {results['lasts_10_s_rate']:.0%} of 32 episodes; normalised return"
    assert share in done.out and "try next" in done.out


@pytest.mark.slow
def test_where_nothing_can_be_drawn_the_rest_still_works(mprl, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    done = mprl("demo", "--minutes", "0.02", "--out", "demo")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("No video: rendering is switched off by MUJOCO_GL=off") == 1
    assert Path("demo/evaluation.json").exists() and not Path("demo/video.mp4").exists()
