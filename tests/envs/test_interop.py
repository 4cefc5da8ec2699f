"""Stable-Baselines3, unmodified, learns in our environments, and is told the truth about how episodes end."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import mprl  # noqa: F401  registers the environments
from mprl.envs import to_sb3
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.errors import SettingError

ID = "mprl/DeepMimic-v0"


def make(worlds: int = 4, **settings: Any) -> DeepMimicVectorEnv:
    return DeepMimicVectorEnv(worlds, **{"motion": "walk", "num_threads": 1, **settings})


def actions(steps: int, worlds: int, scale: float) -> np.ndarray:
    return scale * np.random.default_rng(0).standard_normal((steps, worlds, 28)).astype(np.float32)


def policy(env: Any, **settings: Any) -> PPO:
    return PPO("MlpPolicy", env, **{"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 0, **settings})


# ----------------------------------------------------------------------------------------------------------------------- learning


@pytest.mark.slow
@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_it_learns_in_the_batch(output):
    agent = policy(to_sb3(make(4, output=output)))
    agent.learn(100)
    assert agent.num_timesteps >= 100


@pytest.mark.slow
def test_it_learns_in_the_single_environment_as_it_is():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        agent = policy(gym.make(ID, motion="walk"), n_steps=64)
        agent.learn(128)
        mean, _ = evaluate_policy(agent, gym.make(ID, motion="walk", time_limit=0.5), n_eval_episodes=2, warn=False)
    assert agent.num_timesteps == 128 and 0 < mean <= 15


@pytest.mark.slow
def test_its_monitor_and_normaliser_work():
    env = VecNormalize(VecMonitor(to_sb3(make(4, time_limit=0.2, tracking_termination=None))))
    agent = policy(env)
    agent.learn(128)
    assert np.isfinite(env.normalize_obs(env.get_original_obs())).all() and env.obs_rms.count > 128
    assert {episode["l"] for episode in agent.ep_info_buffer} == {6}
    mean, _ = evaluate_policy(agent, env, n_eval_episodes=4)
    assert np.isfinite(mean)


def test_episodes_are_logged_without_a_monitor():
    """`rollout/ep_rew_mean` is made of `infos[i]["episode"]`: the episode's return, length and time."""
    agent = policy(to_sb3(make(4, time_limit=0.2, tracking_termination=None)))
    agent.learn(64)
    assert agent.ep_info_buffer and {episode["l"] for episode in agent.ep_info_buffer} == {6}
    assert all(0 < episode["r"] <= 6 for episode in agent.ep_info_buffer)


# ------------------------------------------------------------------------------------------------------------- how episodes end


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_ends_are_the_environment_s_own(output):
    """Beside the same environment with the same seed and actions, read without the bridge."""
    settings: dict[str, Any] = dict(output=output, autoreset_mode="SAME_STEP", time_limit=1.0, tracking_termination=None)
    bridge, env = to_sb3(make(6, **settings)), make(6, **settings)
    bridge.seed(3)
    moves = actions(40, 6, 2.0)
    np.testing.assert_array_equal(bridge.reset(), np.asarray(env.reset(seed=3)[0]))
    returns, lengths, seen = np.zeros(6), np.zeros(6, int), {True: 0, False: 0}
    for move in moves:
        observation, reward, ended, infos = bridge.step(move)
        expected, paid, terminated, truncated, info = (x if isinstance(x, dict) else np.asarray(x) for x in env.step(move))
        np.testing.assert_array_equal(observation, expected)
        np.testing.assert_array_equal(reward, paid)
        np.testing.assert_array_equal(ended, terminated | truncated)
        assert observation.dtype == reward.dtype == np.float32 and ended.dtype == bool
        returns, lengths = returns + paid, lengths + 1
        for world in range(6):
            if not ended[world]:
                assert infos[world] == {}
                continue
            np.testing.assert_array_equal(infos[world]["terminal_observation"], np.asarray(info["final_obs"])[world])
            assert (infos[world]["terminal_observation"] != observation[world]).any()
            assert infos[world]["TimeLimit.truncated"] is bool(truncated[world])
            assert (
                infos[world]["episode"]["r"] == pytest.approx(returns[world], abs=1e-4) and infos[world]["episode"]["l"] == lengths[world]
            )
            seen[bool(truncated[world])] += 1
            returns[world], lengths[world] = 0, 0
    assert seen[True] and seen[False]  # both kinds of end came up


def test_what_a_step_returned_is_not_changed_by_the_next():
    bridge = to_sb3(make(3, output="torch", time_limit=0.1))
    first = bridge.reset()
    kept = first.copy()
    moves = actions(5, 3, 0.2)
    second = bridge.step(moves[0])[0]
    kept_second = second.copy()
    for move in moves:
        bridge.step(move)
    assert np.array_equal(first, kept) and np.array_equal(second, kept_second)


def test_a_seed_repeats_a_run_and_counts_once():
    bridge = to_sb3(make(3))
    bridge.seed(5)
    one, after = bridge.reset(), bridge.reset()
    bridge.seed(5)
    assert np.array_equal(bridge.reset(), one) and not np.array_equal(after, one)


def test_options_reach_the_environment_once():
    bridge = to_sb3(make(3))
    bridge.set_options({"phase": np.array([0.25, 0.5, 0.75])})
    bridge.reset()
    assert bridge.get_attr("phase")[0].tolist() == pytest.approx([0.25, 0.5, 0.75])
    bridge.reset()
    assert (bridge.get_attr("phase")[0] != 0.25).all()
    with pytest.raises(SettingError, match="one dict"):
        bridge.set_options([{}, {}, {}])


# ---------------------------------------------------------------------------------------------------------------- other environments


def test_gymnasium_s_own_batches_work_if_they_reset_in_the_same_step():
    envs = SyncVectorEnv([lambda: gym.make("CartPole-v1", max_episode_steps=5)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    bridge = to_sb3(envs)
    bridge.reset()
    for step in range(1, 11):
        _, _, ended, infos = bridge.step(np.full(3, step % 2))
        if step % 5 == 0:
            assert ended.all() and all(info["TimeLimit.truncated"] and info["terminal_observation"].shape == (4,) for info in infos)
        else:
            assert not ended.any() and infos == [{}] * 3
    policy(bridge).learn(96)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_others_are_refused(mode):
    with pytest.raises(SettingError, match="SAME_STEP") as caught:
        to_sb3(SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=mode))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["NEXT_STEP", "DISABLED", "SAME_STEP"])
def test_ours_are_switched_to_it(mode):
    envs = make(2, autoreset_mode=mode)
    to_sb3(envs)
    assert envs.autoreset_mode == envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP


def test_a_single_environment_is_refused_as_sb3_takes_it_as_it_is():
    with pytest.raises(SettingError, match="SB3 takes single ones as is") as caught:
        to_sb3(gym.make("CartPole-v1"))
    assert "\n" not in str(caught.value)


def test_something_else_is_refused():
    with pytest.raises(SettingError, match="found str"):
        to_sb3(ID)  # type: ignore[arg-type]


def test_closing_the_bridge_closes_the_environment():
    envs = make(1)
    to_sb3(envs).close()
    assert envs.closed
