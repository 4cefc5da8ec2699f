"""The benchmark of a policy that perceives: every way is judged beside the true state; other agents are one line."""

from __future__ import annotations

import gymnasium as gym
import pytest

from mprl.agents import PPO
from mprl.motion import HUMANOID, SmplCharacter
from mprl.perception.plug import Perception
from mprl.scripts.benchmarks import seeing
from mprl.scripts.benchmarks.seeing import Found


def test_sensors_and_cameras_are_for_the_smpl_body():
    names = {name for name in seeing.ways(SmplCharacter()) if name not in seeing.ways(HUMANOID)}
    assert {f"six inertial sensors: {part}" for part in ("pose", "rates", "speed", "place", "all")} < names
    assert {name.split(":")[0] for name in names} == {
        "six inertial sensors", "keypoints of two cameras, 2 px", "keypoints of two cameras, 10 px", "keypoints of one camera, 2 px"
    }  # fmt: skip
    assert "detected in pictures of two cameras: all" in seeing.ways(SmplCharacter(), Perception.__new__(Perception))


def test_figures_put_each_beside_the_true_state():
    figures = seeing.figures({seeing.TRUE: Found(0.9, 0.0, 10.0, 30.0), "late": Found(0.45, 0.5, 5.0, 60.0)})
    assert [figure.ratio_to_limit for figure in figures] == pytest.approx([1.0, 0.5])


def test_an_agent_of_another_environment_is_refused(mprl, trained):
    assert "an agent of CartPole-v1; expected one of mprl/DeepMimic-v0" in mprl("benchmark", "seeing", "--agent", trained).mistake
    assert "no such run folder" in mprl("benchmark", "seeing", "--agent", "none").mistake


@pytest.mark.slow
def test_every_way_is_judged(tmp_path):
    PPO(gym.make_vec("mprl/DeepMimic-v0", num_envs=2, output="torch", num_threads=1), hidden=(8,), n_steps=8, batch_size=16).save(tmp_path)
    found = seeing.measure(tmp_path, 2, 0.3)
    assert len(found.figures) == len(seeing.ways(HUMANOID)) and all(0 <= figure.ours <= 1 for figure in found.figures)
