"""Which bodies may touch the ground: by default what touches it in the clips."""

from __future__ import annotations

import gymnasium as gym
import pytest
import torch

import mprl  # noqa: F401  registers the environments
from mprl.envs.imitation.bodies import on_the_floor

FEET = {"right_ankle", "left_ankle"}
HANDS = {"right_wrist", "left_wrist"}


@pytest.mark.parametrize(
    ("motion", "expected"),
    [("walk", FEET), ("cartwheel", FEET | HANDS), ("crawl", FEET | HANDS | {"right_knee", "left_knee"})],
)
def test_what_touches_the_floor_in_the_clip_may_touch_it(motion, expected):
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=1, motion=motion, num_threads=1).unwrapped
    assert set(on_the_floor(envs.library, envs.character)) == expected
    envs.close()


def test_who_lies_down_may_touch_the_floor_with_anything_and_is_not_cut_off_for_it():
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=8, motion="getup_front", num_threads=1, output="torch").unwrapped
    assert set(on_the_floor(envs.library, envs.character)) == set(envs.character.body_names)
    envs.reset(seed=0, options={"phase": torch.arange(8) / 16})
    for _ in range(3):
        _, _, terminated, _, info = envs.step(torch.zeros(8, 28))
        assert not terminated.any() and not info["terminated_contact"].any()
    envs.close()


def test_a_library_allows_what_any_of_its_clips_does():
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=1, motion=["walk", "cartwheel"], num_threads=1).unwrapped
    assert set(on_the_floor(envs.library, envs.character)) == FEET | HANDS
    envs.close()
