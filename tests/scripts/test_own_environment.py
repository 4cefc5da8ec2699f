"""The example of docs/own-environment.md, as it stands there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def example(root, tmp_path, monkeypatch):
    """The example's file in an otherwise empty current folder."""
    page = (root / "docs" / "own-environment.md").read_text(encoding="utf-8")
    (tmp_path / "reach.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("reach", None)
    gym.registry.pop("Reach-v0", None)


def test_it_trains_with_no_further_code(example, mprl):
    small = ("--num-envs", "4", "--agent.n-steps", "25", "--agent.batch-size", "50", "--agent.hidden", "16")
    done = mprl("train", "reach:Reach-v0", "--agent", "ppo", "--env.noise", "0.01", "--steps", "400", "--out", "runs/reach", *small)
    assert (done.code, done.err) == (0, "")
    config = json.loads(Path("runs/reach/config.json").read_text())
    assert (config["env_id"], config["env_kwargs"]["noise"]) == ("reach:Reach-v0", 0.01)
    done = mprl("evaluate", "runs/reach", "--episodes", "4", "--json", "reach.json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(Path("reach.json").read_text())["length_mean"] == 50


def test_its_arguments_are_in_the_help(example, mprl):
    printed = " ".join(mprl("train", "reach:Reach-v0", "--agent", "ppo", "--help").out.replace("│", " ").split())
    assert "A point in the plane learns to go to a goal and to stay there." in printed
    assert "--env.speed FLOAT how far a step of full speed goes, m. (default: 0.1)" in printed
    assert "--agent.learning-rate" in printed


def test_a_missing_file_is_named_when_it_is_evaluated(example, mprl):
    small = ("--num-envs", "2", "--agent.n-steps", "8", "--agent.batch-size", "16", "--agent.hidden", "8")
    assert mprl("train", "reach:Reach-v0", "--steps", "16", "--out", "run", *small).code == 0
    (example / "reach.py").unlink()
    sys.modules.pop("reach")
    assert mprl("evaluate", "run").mistake.startswith("no module named 'reach' in ")


def test_it_can_not_record_a_video(example, mprl):
    small = ("--num-envs", "2", "--agent.n-steps", "8", "--agent.batch-size", "16", "--agent.hidden", "8")
    assert mprl("train", "reach:Reach-v0", "--steps", "16", "--out", "run", *small).code == 0
    assert "makes no pictures" in mprl("evaluate", "run", "--video", "x.mp4").mistake


@pytest.mark.filterwarnings("ignore")
def test_it_passes_gymnasiums_checker(example):
    sys.path.insert(0, str(example))
    import reach

    check_env(reach.Reach(), skip_render_check=True)
