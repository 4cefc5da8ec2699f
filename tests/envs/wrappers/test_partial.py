"""Less than all is seen, and the past too: every number that is shown is known, in every kind of batch."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.agents.environments import Batch
from mprl.envs.wrappers import delay, hide, history
from mprl.errors import SettingError, UnknownNameError


class Count(gym.Env[np.ndarray, int]):
    """Shows 10 × episode + step, its negative, and it doubled; an episode has `length` steps."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int = 3, dtype: Any = np.float32) -> None:
        low, high = np.array([0, -100, 0], dtype), np.array([100, 0, 200], dtype)
        self.observation_space = gym.spaces.Box(low, high, dtype=dtype)
        self._length, self._dtype, self._time, self._episode = length, dtype, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._time, self._episode = 0, self._episode + 1
        return self._show(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._time += 1
        return self._show(), 1.0, self._time >= self._length, False, {}

    def _show(self) -> np.ndarray:
        number = 10 * self._episode + self._time
        return np.array([number, -number, 2 * number], self._dtype)


def counts(mode: AutoresetMode, lengths: tuple[int, ...] = (2, 3)) -> SyncVectorEnv:
    return SyncVectorEnv([lambda n=n: Count(n) for n in lengths], autoreset_mode=mode)


NOTHING = np.zeros(2, int)

# -------------------------------------------------------------------------------------------------------------------------- latency


@pytest.mark.parametrize(("steps", "shown"), [(0, [10, 11, 12, 13]), (1, [10, 10, 11, 12]), (2, [10, 10, 10, 11])])
def test_what_is_late_is_what_was_some_steps_ago(steps, shown):
    env = delay(Count(), steps)
    seen = [env.reset()[0], *(env.step(0)[0] for _ in range(3))]
    assert [int(each[0]) for each in seen] == shown and seen[0] in env.observation_space
    assert int(env.reset()[0][0]) == 20  # a new episode does not see the last one


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_what_a_step_led_to_is_as_late(mode):
    batch = Batch(delay(counts(mode), 1))
    batch.reset(seed=0)
    led: list[list[float]] = [[], []]
    for _ in range(7):
        step = batch.step(NOTHING)
        for world in np.flatnonzero(step.valid):
            led[world].append(int(step.successor[world][0]))
    assert led[0][:5] == [10, 11, 20, 21, 30] and led[1][:5] == [10, 11, 12, 20, 21]


def test_latency_is_a_number_of_steps_of_an_environment():
    for env, steps, message in ((Count(), -1, "at least 0"), (Count(), 0.5, "whole number"), ("CartPole-v1", 1, "expected a Gymnasium")):
        with pytest.raises(SettingError, match=message):
            delay(env, steps)


# ---------------------------------------------------------------------------------------------------------------------------- hiding


def test_hidden_numbers_are_gone_and_so_are_their_bounds():
    env = hide(Count(), [1])
    assert env.observation_space == gym.spaces.Box(np.zeros(2, np.float32), np.array([100, 200], np.float32))
    assert env.reset()[0].tolist() == [10, 20] and env.step(0)[0].tolist() == [11, 22]


def test_velocities_of_cartpole_and_pendulum_are_hidden():
    # observations are (x, x', angle, angle') and (cos, sin, angle'), as Gymnasium's own pages say
    for name, indices, seen in (("CartPole-v1", (1, 3), [0, 2]), ("Pendulum-v1", (2,), [0, 1])):
        whole, part = gym.make(name), hide(gym.make(name), indices)
        assert np.array_equal(part.reset(seed=3)[0], whole.reset(seed=3)[0][seen])
        batch = hide(gym.make_vec(name, num_envs=4), indices)
        assert batch.observation_space.shape == (4, 2) and batch.reset(seed=3)[0] in batch.observation_space


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_what_a_step_led_to_is_hidden_as_well(mode):
    batch = Batch(hide(counts(mode), [0, 2]))
    batch.reset(seed=0)
    led: list[list[float]] = [[], []]
    for _ in range(7):
        step = batch.step(NOTHING)
        for world in np.flatnonzero(step.valid):
            led[world] += step.successor[world].tolist()
    assert led[0][:5] == [-11, -12, -21, -22, -31] and led[1][:5] == [-11, -12, -13, -21, -22]


def test_worlds_of_tensors_stay_tensors():
    make = lambda: gym.make_vec("mprl/DeepMimic-v0", num_envs=2, output="torch", num_threads=1)  # noqa: E731
    whole, part = make().reset(seed=0)[0], history(hide(make(), range(3)), 2).reset(seed=0)[0]
    assert isinstance(part, torch.Tensor) and torch.equal(part, torch.stack([whole[:, 3:]] * 2, dim=1))


@pytest.mark.parametrize(
    ("indices", "line"),
    [
        ([3], "no number 3 to hide: the observation has 3, from 0 to 2"),
        ([-1], "no number -1 to hide"),
        ([1, 1], r"indices to hide must be different, found \(1, 1\)"),
        ([2, 0, 1], "all 3 numbers of the observation are hidden"),
        ([0.5], "a hidden index must be a whole number, found 0.5"),
    ],
)
def test_numbers_that_cannot_be_hidden_are_one_line(indices, line):
    with pytest.raises(SettingError, match=f"^{line}"):
        hide(Count(), indices)


def test_what_is_no_vector_is_one_line():
    with pytest.raises(SettingError, match=r"^numbers can be hidden of a vector, of shape \(n,\), found Discrete\(16\)$"):
        hide(gym.make("FrozenLake-v1"), [0])
    with pytest.raises(SettingError, match=r"^a history is of vectors, of shape \(n,\), found Discrete\(16\)$"):
        history(gym.make("FrozenLake-v1"), 2)
    with pytest.raises(SettingError, match=r"^expected a Gymnasium environment"):
        hide("CartPole-v1", [0])
    with pytest.raises(SettingError, match=r"^expected a Gymnasium environment"):
        history("CartPole-v1", 2)


# ------------------------------------------------------------------------------------------------------------------------- histories


def first(observation: np.ndarray) -> Any:
    """The first number of each observation in a history."""
    return observation[..., 0].tolist()


def test_a_history_is_the_last_observations_oldest_first():
    env = history(Count(9), 3)
    start, _ = env.reset()
    assert env.observation_space.shape == start.shape == (3, 3)
    assert first(start) == [10, 10, 10]
    assert [first(env.step(0)[0]) for _ in range(4)] == [[10, 10, 11], [10, 11, 12], [11, 12, 13], [12, 13, 14]]
    assert first(start) == [10, 10, 10]  # what was given away does not change
    assert first(env.reset()[0]) == [20, 20, 20]
    assert env.step(0)[0].tolist() == [[20, -20, 40], [20, -20, 40], [21, -21, 42]]


def test_it_is_float32_and_within_the_bounds_of_each_of_its_observations():
    env = history(Count(dtype=np.float64), 2)
    bounds = [np.array([row] * 2, np.float32) for row in ([0, -100, 0], [100, 0, 200])]
    assert env.observation_space == gym.spaces.Box(*bounds) and env.reset()[0] in env.observation_space


def test_it_agrees_with_gymnasiums_stack():
    ours, theirs = history(gym.make("Pendulum-v1"), 4), gym.wrappers.FrameStackObservation(gym.make("Pendulum-v1"), 4)
    assert np.array_equal(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    for turn in np.linspace(-2, 2, 6, dtype=np.float32):
        assert np.array_equal(ours.step([turn])[0], theirs.step([turn])[0])


def test_the_last_history_of_an_episode_comes_with_its_end():
    envs = history(counts(AutoresetMode.SAME_STEP), 2)
    envs.reset()
    envs.step(NOTHING)
    observation, _, terminated, _, info = envs.step(NOTHING)
    assert terminated.tolist() == info["_final_obs"].tolist() == [True, False]
    assert first(observation) == [[20, 20], [11, 12]] and first(info["final_obs"]) == [[11, 12], [11, 12]]


def test_no_history_reaches_into_the_episode_before():
    envs = history(counts(AutoresetMode.NEXT_STEP), 3)
    assert first(envs.reset()[0]) == [[10] * 3] * 2
    shown = [first(envs.step(NOTHING)[0])[0] for _ in range(4)]
    assert shown == [[10, 10, 11], [10, 11, 12], [20, 20, 20], [20, 20, 21]]
    assert first(envs.reset()[0])[0] == [30] * 3  # in the middle of an episode


def test_a_masked_reset_begins_the_history_of_the_reset_worlds_only():
    envs = history(counts(AutoresetMode.DISABLED), 2)
    envs.reset()
    for _ in range(2):
        envs.step(NOTHING)
    assert first(envs.reset(options={"reset_mask": np.array([True, False])})[0]) == [[20, 20], [11, 12]]
    assert first(envs.step(NOTHING)[0]) == [[20, 21], [12, 13]]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_agents_see_the_same_histories_in_every_autoreset_mode(mode):
    batch = Batch(history(hide(counts(mode), [1]), 2))
    batch.reset(seed=0)
    led: list[list[list[float]]] = [[], []]
    for _ in range(9):
        step = batch.step(NOTHING)
        for world in np.flatnonzero(step.valid):
            led[world].append(first(step.successor[world]))
    assert led[0][:5] == [[10, 11], [11, 12], [20, 21], [21, 22], [30, 31]]
    assert led[1][:4] == [[10, 11], [11, 12], [12, 13], [20, 21]]


def test_of_a_dict_the_vectors_have_a_history():
    class Both(gym.ObservationWrapper[Any, Any, Any]):
        def __init__(self, env: Any) -> None:
            super().__init__(env)
            image = gym.spaces.Box(0, 255, (2, 2, 1), np.uint8)
            self.observation_space = gym.spaces.Dict({"image": image, "state": env.observation_space})

        def observation(self, observation: Any) -> Any:
            return {"image": np.zeros((2, 2, 1), np.uint8), "state": observation}

    env = history(Both(Count()), 2)
    observation, _ = env.reset()
    assert observation in env.observation_space
    assert observation["image"].shape == (2, 2, 1) and first(observation["state"]) == [10, 10]
    with pytest.raises(UnknownNameError, match="no observation named 'stat'; did you mean 'state'"):
        history(Both(Count()), 2, keys=["stat"])


def test_a_length_that_cannot_be_is_one_line():
    with pytest.raises(SettingError, match=r"^length must be at least 1, found 0$"):
        history(Count(), 0)


def test_one_index_instead_of_a_list_is_one_line():
    with pytest.raises(SettingError, match=r"^numbers to hide are a list of indices, like \[1, 3\], found 1$"):
        hide(Count(), 1)
