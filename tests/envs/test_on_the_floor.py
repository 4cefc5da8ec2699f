"""Which bodies may touch the ground: by default what touches it in the clips."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

import mprl  # noqa: F401  registers the environments
from mprl.envs.imitation.bodies import on_the_floor

FEET = {"right_ankle", "left_ankle"}
HANDS = {"right_wrist", "left_wrist"}


def allowed(envs) -> list[set[str]]:
    """Names of the bodies that may touch the floor in each clip."""
    return [set(np.array(envs.character.body_names)[row]) for row in on_the_floor(envs.library, envs.character)]


@pytest.mark.parametrize(
    ("motion", "expected"),
    [("walk", FEET), ("cartwheel", FEET | HANDS), ("crawl", FEET | HANDS | {"right_knee", "left_knee"})],
)
def test_what_touches_the_floor_in_the_clip_may_touch_it(motion, expected):
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=1, motion=motion, num_threads=1).unwrapped
    assert allowed(envs) == [expected]
    envs.close()


def test_who_lies_down_may_touch_the_floor_with_anything_and_is_not_cut_off_for_it():
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=8, motion="getup_front", num_threads=1, output="torch").unwrapped
    assert allowed(envs) == [set(envs.character.body_names)]
    envs.reset(seed=0, options={"phase": torch.arange(8) / 16})
    for _ in range(3):
        _, _, terminated, _, info = envs.step(torch.zeros(8, 28))
        assert not terminated.any() and not info["terminated_contact"].any()
    envs.close()


def test_in_a_library_each_clip_allows_what_it_does_itself():
    motions = ["walk", "getup_front", "cartwheel"]
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=3, motion=motions, num_threads=1, output="torch").unwrapped
    assert allowed(envs) == [FEET, set(envs.character.body_names), FEET | HANDS]
    envs.reset(seed=0, options={"clip": torch.arange(3), "phase": 0.0})
    envs._qpos[:] = envs.library.sample(torch.tensor([1] * 3), torch.zeros(3)).qpos  # all three lie on the floor
    *_, info = envs.step(torch.zeros(3, 28))
    assert info["terminated_contact"].tolist() == [True, False, True]
    envs.close()


def test_bodies_that_are_named_hold_for_all_clips():
    motions = ["walk", "getup_front"]
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=2, motion=motions, contact_bodies={"root"}, num_threads=1).unwrapped
    assert envs.layout.falls.all() and len(envs.layout.fall_bodies) == len(envs.character.body_names) - 1
    envs.close()
