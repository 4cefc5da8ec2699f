"""Recorded rollouts: each sample is what was seen, done and earned at one step, in every kind of batch."""

from __future__ import annotations

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.agents.ppo import PPO
from mprl.envs.recording import record
from mprl.envs.wrappers import pixels
from mprl.errors import DatasetError, SettingError


class Counter(gym.Env[np.ndarray, int]):
    """Counts steps of all its episodes, which end after `length`; the reward is the count plus the action."""

    def __init__(self, length: int = 3, start: int = 0) -> None:
        self.observation_space = gym.spaces.Box(0, 1e6, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(5)
        self._length, self._count, self._time = length, start, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._count, self._time = self._count + 1, 0
        return np.array([self._count], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = float(self._count + action)
        self._count, self._time = self._count + 1, self._time + 1
        return np.array([self._count], np.float32), reward, False, self._time >= self._length, {}


def rows(dataset) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in next(dataset.batches(10_000, seed=None)).items()}


ENVIRONMENTS = [lambda: Counter()] + [
    lambda mode=mode: SyncVectorEnv([lambda: Counter(3), lambda: Counter(4, start=1000)], autoreset_mode=mode) for mode in AutoresetMode
]


@pytest.mark.parametrize("make", ENVIRONMENTS)
def test_a_sample_is_what_was_seen_done_and_earned_at_one_step(tmp_path, make):
    found = rows(record(make(), "random", tmp_path, 40, progress=False))
    assert len(found["state"]) == 40 and len(np.unique(found["action"])) == 5
    assert np.array_equal(found["reward"], found["state"][:, 0] + found["action"])  # so no reset was recorded as a step
    for episode in np.unique(found["episode"]):
        of = found["episode"] == episode
        length = 4 if found["state"][of][0] > 1000 else 3
        assert np.array_equal(found["step"][of], np.arange(of.sum()))
        assert np.array_equal(np.diff(found["state"][of, 0]), np.ones(of.sum() - 1))
        assert of.sum() <= length and found["truncated"][of].tolist() == [False] * (of.sum() - 1) + [bool(of.sum() == length)]
    assert not found["terminated"].any()


def test_recording_goes_on_where_it_stopped(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "mprl"):
        logging.getLogger("mprl").propagate = True
        record(Counter(), "random", tmp_path, 10, progress=False)
        dataset = record(Counter(), "random", tmp_path, 25, progress=False)
        record(Counter(), "random", tmp_path, 25, progress=False)
    assert len(dataset) == 25 and "10 of 25 samples are there; going on" in caplog.text and "all 25 samples are there" in caplog.text
    found = rows(dataset)
    assert len(set(zip(found["episode"].tolist(), found["step"].tolist(), strict=True))) == 25


def test_the_same_seed_records_the_same(tmp_path):
    one, two, other = (
        rows(record(gym.make("CartPole-v1"), "random", tmp_path / name, 50, seed=seed, progress=False))
        for name, seed in (("one", 3), ("two", 3), ("other", 4))
    )
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["state"], other["state"])


def test_pictures_and_states_are_columns_with_their_episode(tmp_path):
    envs = pixels(gym.make_vec("CartPole-v1", num_envs=2, render_mode="rgb_array"), 16, grey=True, state=True)
    found = record(envs, "random", tmp_path, 30, progress=False, extra={"pole": lambda: envs.unwrapped.state[2].copy()})
    assert {name: (dtype.name, shape) for name, (dtype, shape) in found.columns.items()} == {
        "image": ("uint8", (16, 16, 1)), "state": ("float32", (4,)), "action": ("int64", ()), "reward": ("float32", ()),
        "terminated": ("bool", ()), "truncated": ("bool", ()), "episode": ("int64", ()), "step": ("int32", ()), "pole": ("float64", ()),
    }  # fmt: skip
    values = rows(found)
    np.testing.assert_allclose(values["pole"], values["state"][:, 2], rtol=1e-6)
    assert found.about == {"env": "CartPole-v1", "policy": "random", "seed": 0}
    alone = record(pixels(gym.make("CartPole-v1", render_mode="rgb_array"), 8), "random", tmp_path / "alone", 3, progress=False)
    assert "image" in alone.columns


def test_functions_and_agents_act_and_agents_are_told_where_episodes_begin(tmp_path):
    envs = SyncVectorEnv([Counter, Counter])
    found = rows(record(envs, lambda observation: np.full(len(observation), 3), tmp_path / "function", 20, progress=False))
    assert (found["action"] == 3).all()

    class Remembers:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            state = np.where(episode_start, 0, 0 if state is None else state + 1)
            return state, state

    found = rows(record(Counter(), Remembers(), tmp_path / "agent", 12, progress=False))
    assert np.array_equal(found["action"], found["step"])
    agent = PPO(gym.make_vec("CartPole-v1", num_envs=2), n_steps=4, batch_size=8, seed=0)
    for env, name in ((gym.make("CartPole-v1"), "one"), (gym.make_vec("CartPole-v1", num_envs=2), "two")):
        assert len(record(env, agent, tmp_path / name, 8, deterministic=True, progress=False)) == 8


def test_tensors_are_recorded_too(tmp_path):
    class Torch(gym.vector.VectorWrapper):
        def reset(self, **how):
            observation, info = super().reset(**how)
            return torch.from_numpy(observation), info

        def step(self, actions):
            *told, info = super().step(actions.numpy())
            return *(torch.from_numpy(value) for value in told), info

    envs = Torch(SyncVectorEnv([Counter, Counter]))
    found = rows(record(envs, lambda observation: torch.full((2,), 4), tmp_path, 12, progress=False))
    assert np.array_equal(found["reward"], found["state"][:, 0] + 4)


def test_a_bar_shows_how_far_it_is(tmp_path, capsys):
    record(Counter(), "random", tmp_path, 10)
    assert "recording Counter" in capsys.readouterr().out


def test_a_dataset_of_something_else_is_not_continued(tmp_path):
    class Timer(Counter): ...

    record(Counter(), "random", tmp_path, 10, about={"crop": (0, 1)}, progress=False)
    assert len(record(Counter(), "random", tmp_path, 12, about={"crop": (0, 1)}, progress=False)) == 12
    for samples in (12, 20):
        with pytest.raises(DatasetError, match=r"holds a dataset with crop \[0, 1\], not \[0, 2\]; take another folder$"):
            record(Counter(), "random", tmp_path, samples, about={"crop": (0, 2)}, progress=False)
        with pytest.raises(DatasetError, match=r"holds a dataset with env Counter, not Timer; take another folder$"):
            record(Timer(), "random", tmp_path, samples, progress=False)


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(SettingError, match=r"^policy must be 'random', an agent .* or a function of observations, found 'rand'$"):
        record(Counter(), "rand", tmp_path, 10)
    with pytest.raises(SettingError, match=r"^samples must be at least 1, found 0$"):
        record(Counter(), "random", tmp_path, 0)
    with pytest.raises(SettingError, match=r"found str"):
        record("CartPole-v1", "random", tmp_path, 10)
    with pytest.raises(SettingError, match=r"column 'pose': expected 1 worlds, found an array of shape \(3,\)"):
        record(Counter(), "random", tmp_path, 10, extra={"pose": lambda: np.zeros(3)})
    with pytest.raises(SettingError, match=r"column 'reward' is written by itself"):
        record(Counter(), "random", tmp_path, 10, extra={"reward": lambda: np.zeros(1)})
    record(Counter(), "random", tmp_path, 10, progress=False)
    with pytest.raises(DatasetError, match=r"holds a dataset of state float32 \(1\), .* take another"):
        record(gym.make("CartPole-v1"), "random", tmp_path, 20)
