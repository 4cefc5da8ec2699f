"""`mprl evaluate` on other motions, clip by clip, and pushed: what cannot be is one line, and what is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mprl.errors import SettingError
from mprl.scripts import clips, pushes
from mprl.scripts.plots import failure_map


def test_what_imitates_no_motion_cannot_imitate_another_and_is_not_pushed(mprl, trained):
    assert mprl("evaluate", trained, "--motion", "walk").mistake == "--motion: CartPole-v1 imitates no motion"
    assert "CartPole-v1 has no root to push" in mprl("evaluate", trained, "--push").mistake


def test_actions_about_the_mean_pose_of_other_clips_would_be_others():
    config = {"env_id": "mprl/DeepMimic-v0", "env_kwargs": {"action_mode": "absolute"}}
    with pytest.raises(SettingError, match="mean pose of its own clips"):
        clips.instead(config, ["walk"])
    assert clips.instead(config, []) == {}
    config["env_kwargs"] = {"clip_weights": [1, 2]}
    assert clips.instead(config, ["walk"]) == {"motion": ["walk"], "clip_weights": None}


def test_pushes_are_told_by_direction_beside_the_papers(capsys):
    found = {"clip": "walk", "survived_n": {"front": 137.0, "back": 400.0, "left": None}, "paper_n": {"front": 240}, "most_n": 400.0}
    pushes.show({"pushes": [found]})
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if " walk " in line]
    assert rows == [
        ["walk", "front", "137", "N", "240", "N"],
        ["walk", "back", "at", "least", "400", "N"],
        ["walk", "left", "falls", "unpushed"],
    ]


def test_the_worst_clip_is_told_first(capsys):
    one = {"mpjpe_global_mm": 50.0, "mpjpe_local_mm": 20.0, "normalized_return": 0.8, "seconds_mean": 1.0, "seconds_possible": 2.0}
    told = [{"clip": name, "success_rate": success, **one} for name, success in (("kick", 1.0), ("spin", 0.25))]
    clips.show({"clips": told, "library": {**told[0], "success_rate": 0.625, "episodes": 8}})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = [line for line in lines if line and line[0] in ("kick", "spin", "all")]
    assert [row[0] for row in rows] == ["spin", "kick", "all"]
    assert rows[0] == ["spin", "25%", "50.0", "20.0", "0.800", "1.00", "2.00"]


def test_the_map_is_a_picture(tmp_path: Path):
    rates = np.array([[0.0, 0.5, np.nan], [1.0, 0.0, 0.0]])
    assert failure_map(rates, ["walk", "kick"], tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
