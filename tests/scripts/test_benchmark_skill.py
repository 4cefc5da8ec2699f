"""The benchmark of a skill from keypoints: how a fit is turned to the truth, and that the truth judges as its own evaluation does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mprl.envs.imitation import metrics
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.errors import SettingError
from mprl.motion import HUMANOID, edit, load
from mprl.scripts.benchmarks import skill
from mprl.scripts.evaluate import write_json


@pytest.fixture(scope="module")
def clip():
    return edit.trim(load("walk"), 0, 0.5)


@pytest.mark.parametrize("degrees", [-170, -40, 0, 90, 175])
def test_a_motion_that_was_turned_and_moved_is_put_back(clip, degrees):
    turned = edit.turn(clip, math.radians(degrees))
    elsewhere = skill.replace(turned, root_position=turned.root_position + [3.0, -2.0, 0.0])
    back = skill.facing_as(elsewhere, clip)
    assert np.abs(back.root_position - clip.root_position).max() < 1e-6
    assert np.abs(np.abs((back.rotations * clip.rotations).sum(-1)) - 1).max() < 1e-6


def test_judged_by_its_own_motion_it_is_as_ever(clip):
    limp = lambda observation: torch.zeros(len(observation), HUMANOID.model.nu)  # noqa: E731
    settings = {
        "num_envs": 2,
        "motion": clip,
        "output": "torch",
        "autoreset_mode": "disabled",
        "num_threads": 1,
        "tracking_termination": None,
    }
    envs = skill.Judged(truth=clip, period=9.0, over=0.0, **settings), DeepMimicVectorEnv(**settings)
    by_truth, own = (metrics.summarise(metrics.record(env, limp, seed=0), 30.0) for env in envs)
    assert by_truth["normalized_return"] == pytest.approx(own["normalized_return"], abs=1e-6)


def test_episodes_begin_evenly_over_the_first_seconds(clip):
    env = skill.Spread(over=0.2, num_envs=5, motion=clip, output="torch", autoreset_mode="disabled", num_threads=1)
    env.reset(seed=0)
    room = 1 - 1.5 / 30 / clip.duration  # a step is left after the last beginning that can be
    assert env.times.tolist() == pytest.approx([room * begin for begin in (0.0, 0.04, 0.08, 0.12, 0.16)], abs=1e-6)


def test_the_truth_is_elsewhere_and_another_motion_earns_less(clip):
    settings = {"num_envs": 1, "motion": clip, "output": "torch", "autoreset_mode": "disabled", "num_threads": 1}
    far = skill.replace(clip, root_position=clip.root_position + [5.0, 1.0, 0.0])
    turned = edit.turn(clip, math.radians(60))
    earned = []
    for truth in (clip, far, turned):
        env = skill.Judged(truth=truth, period=9.0, over=0.0, **settings)
        env.reset(seed=0, options={"phase": 0.0})
        env.step(torch.zeros(1, HUMANOID.model.nu))
        character, reference = env.motions()
        earned.append(float(skill.metrics.RELEASE(character, reference, env.layout.joint_weights)[0]))
    assert earned[1] == pytest.approx(earned[0], abs=1e-5) and earned[2] < earned[0] - 0.1


def test_the_goal_is_a_tenth_below_what_learned_the_truth():
    found = {way: dict.fromkeys(skill.FOUND, value) for way, value in ((skill.TRUE, 0.9), (skill.FITTED, 0.81))}
    figure = skill.figures("walk", found)[0]
    assert (figure.ours, figure.peer, figure.met) == (0.81, 0.9, True)


def test_without_a_held_out_motion_it_says_so(tmp_path):
    with pytest.raises(SettingError, match=r"humanoid3d_walk\.txt: no such file"):
        skill.measure(tmp_path, "walk", 5.0, 100, tmp_path)


@pytest.mark.slow
def test_a_shorter_run_goes_on(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(skill, "WORLDS", 8)
    short = skill.run(skill.TRUE, clip, 9.0, 256, tmp_path)
    result = tmp_path / skill.RESULT
    write_json(result, {"asked": {"steps": 256, "seconds": 5.0}, "found": short})
    for other in ({"steps": 256, "seconds": 5.0}, {"steps": 512, "seconds": 8.0}):
        skill._go_on_from_fewer_steps(result, other)
        assert result.exists()
    skill._go_on_from_fewer_steps(result, {"steps": 512, "seconds": 5.0})
    assert not result.exists()
    assert short["steps"] == 256 and skill.run(skill.TRUE, clip, 9.0, 512, tmp_path)["steps"] == 512
