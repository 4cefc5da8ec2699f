"""Which batch of an environment the command line makes."""

from __future__ import annotations

import gymnasium as gym
import pytest

from mprl.envs.tabular import TabularVectorEnv
from mprl.scripts import environments


@pytest.mark.parametrize(
    ("env_id", "limit"), [("CliffWalking-v1", None), ("FrozenLake-v1", 100), ("Taxi-v4", 200), ("mprl/Cliff-v0", 10_000)]
)
def test_environments_with_a_table_of_transitions_are_stepped_from_it(env_id, limit):
    envs = environments.make(env_id, 3)
    assert isinstance(envs.unwrapped, TabularVectorEnv)
    assert (envs.num_envs, envs.max_episode_steps, envs.spec.id) == (3, limit, env_id)


def test_their_arguments_are_kept():
    assert environments.make("FrozenLake-v1", 2, map_name="8x8", max_episode_steps=7).max_episode_steps == 7
    assert environments.make("FrozenLake-v1", 2, map_name="8x8").single_observation_space.n == 64


@pytest.mark.parametrize(("env_id", "settings"), [("Blackjack-v1", {}), ("Taxi-v4", {"fickle_passenger": True}), ("CartPole-v1", {})])
def test_others_are_not(env_id, settings):
    assert not isinstance(environments.make(env_id, 2, **settings), TabularVectorEnv)


def test_ours_are_listed_with_what_they_are(mprl):
    listed = mprl("list", "envs").out
    assert all(name in listed for name, spec in gym.registry.items() if spec.namespace == "mprl")
    assert "Blackjack against a dealer" in listed
