"""Flat observations are those of `gymnasium.spaces.flatten`, and every space survives being written down."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces as kinds
from gymnasium.vector.utils import batch_space

from mprl.agents import spaces
from mprl.agents.descriptions import describe, to_space
from mprl.errors import SettingError
from mprl.nn import distributions

SPACES = {
    "box": kinds.Box(-1, np.arange(1, 4, dtype=np.float32), (3,), np.float32),
    "unbounded box": kinds.Box(np.array([-np.inf, 0.1]), np.array([1.0, np.inf]), dtype=np.float64),
    "picture": kinds.Box(0, 255, (4, 3, 2), np.uint8),
    "number": kinds.Box(0.0, 0.1, (), np.float32),
    "large integers": kinds.Box(-(2**62) - 1, 2**62 + 1, (2,), np.int64),
    "discrete": kinds.Discrete(5),
    "discrete from -2": kinds.Discrete(3, start=-2),
    "multi-discrete": kinds.MultiDiscrete([2, 3, 4]),
    "multi-discrete table": kinds.MultiDiscrete([[2, 3], [4, 5]], dtype=np.int32),
    "multi-discrete from elsewhere": kinds.MultiDiscrete([3, 2], start=[-1, 7]),
    "bits": kinds.MultiBinary(3),
    "table of bits": kinds.MultiBinary([2, 3]),
    "dict": kinds.Dict({"b": kinds.Discrete(3), "a": kinds.Box(-1, 1, (2,))}),
    "dict in an order of its own": kinds.Dict([("b", kinds.Discrete(3)), ("a", kinds.Box(-1, 1, (2,)))]),
    "tuple": kinds.Tuple((kinds.MultiBinary(2), kinds.Discrete(4))),
    "nested": kinds.Dict(
        {"where": kinds.Tuple((kinds.Box(0, 1, (2, 2)), kinds.MultiDiscrete([2, 2]))), "what": kinds.Dict({"x": kinds.Discrete(2)})}
    ),
}  # fmt: skip
NOT_SUPPORTED = [kinds.Text(5), kinds.Sequence(kinds.Discrete(2)), kinds.Graph(kinds.Discrete(2), None), kinds.OneOf((kinds.Discrete(2),))]


def samples(space: gym.Space, count: int) -> list:
    space.seed(0)
    return [space.sample() for _ in range(count)]


def batch_of(space: gym.Space, observations: list):
    """As a vector environment gives them."""
    buffer = gym.vector.utils.create_empty_array(space, len(observations))
    return gym.vector.utils.concatenate(space, observations, buffer)


@pytest.mark.parametrize("name", SPACES)
def test_a_batch_is_flattened_as_gymnasium_flattens_each(name):
    space, observations = SPACES[name], samples(SPACES[name], 6)
    batch = batch_of(space, observations)
    assert batch in batch_space(space, 6)
    flat = spaces.flatten(space, batch, "cpu")
    assert flat.dtype == torch.float32 and flat.shape == (6, spaces.size(space))
    expected = np.stack([kinds.flatten(_from_zero(space), _shifted(space, each)) for each in observations])
    np.testing.assert_array_equal(flat, expected.astype(np.float32))


def _from_zero(space: gym.Space) -> gym.Space:
    """Gymnasium's flatten does not know that a MultiDiscrete may begin elsewhere."""
    return kinds.MultiDiscrete(space.nvec) if isinstance(space, kinds.MultiDiscrete) else space


def _shifted(space: gym.Space, value):
    return value - space.start if isinstance(space, kinds.MultiDiscrete) else value


def test_one_hot_codes_side_by_side_by_hand():
    flat = spaces.flatten(kinds.MultiDiscrete([2, 3], start=[0, 5]), np.array([[1, 5], [0, 7]]))
    assert flat.tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]
    assert spaces.flatten(kinds.Discrete(3, start=-1), np.array([-1, 1])).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_numbers_of_a_float32_box_are_not_copied():
    observation = np.zeros((8, 4), np.float32)
    assert spaces.flatten(kinds.Box(-1, 1, (4,)), observation).data_ptr() == observation.ctypes.data


@pytest.mark.parametrize("space", NOT_SUPPORTED, ids=lambda space: type(space).__name__)
def test_other_spaces_are_refused_with_those_that_are_not(space):
    for observations in (space, kinds.Dict({"text": space})):
        for ask in (lambda s=observations: spaces.size(s), lambda s=observations: spaces.flatten(s, {"text": ()})):
            with pytest.raises(
                SettingError, match=r"Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple .* found " + type(space).__name__
            ):
                ask()
    with pytest.raises(SettingError, match=r"cannot be written down"):
        describe(space)


@pytest.mark.parametrize("name", SPACES)
def test_one_observation_is_a_batch_of_one(name):
    space, (first, second) = SPACES[name], samples(SPACES[name], 2)
    rows, single = spaces.batched(space, first)
    batch, several = spaces.batched(space, batch_of(space, [first, second]))
    assert single and not several
    assert torch.equal(spaces.flatten(space, rows)[0], spaces.flatten(space, batch)[0])


@pytest.mark.parametrize(
    ("space", "observation", "part"),
    [
        (kinds.Box(0, 1, (3,)), np.zeros(4), r"shape \(3,\) or a batch of them, found \(4,\)"),
        (kinds.Box(0, 1, (3,)), np.zeros((2, 2, 3)), r"found \(2, 2, 3\)"),
        (kinds.Discrete(3), np.zeros((2, 2), int), r"shape \(\) or a batch"),
        (kinds.Dict({"a": kinds.Discrete(2), "b": kinds.Discrete(2)}), {"a": 0}, "with a part 'b'"),
        (kinds.Dict({"a": kinds.Discrete(2)}), np.zeros(3), "with a part 'a'"),
        (kinds.Tuple((kinds.Discrete(2), kinds.Discrete(2))), (1, np.zeros(3, int)), "some parts"),
    ],
)
def test_an_observation_of_another_shape_is_refused(space, observation, part):
    with pytest.raises(SettingError, match=part):
        spaces.batched(space, observation)


@pytest.mark.parametrize("name", SPACES)
def test_a_space_written_as_json_comes_back_the_same(name):
    space = SPACES[name]
    back = to_space(json.loads(json.dumps(describe(space))))
    assert back == space
    if isinstance(space, kinds.Dict):
        assert list(back.spaces) == list(space.spaces)
    if isinstance(space, kinds.Box):
        assert back.dtype == space.dtype and (back.low == space.low).all() and (back.high == space.high).all()


def test_spaces_in_the_folders_of_earlier_versions_are_read():
    written = {"kind": "Box", "shape": [2], "dtype": "float32", "low": [-1.0, "-inf"], "high": "inf"}
    assert to_space(written) == kinds.Box(np.array([-1, -np.inf], np.float32), np.inf, (2,), np.float32)
    assert to_space({"kind": "Discrete", "n": 3, "start": 1, "shape": "Discrete(3)"}) == kinds.Discrete(3, start=1)


# --- actions ----------------------------------------------------------------------------------------------------------------


def test_an_algorithm_says_which_actions_it_needs_and_which_other_one_to_use():
    torque = kinds.Box(-2, 2, (1,))
    spaces.require_actions(torque, (kinds.Box,), "sac")
    with pytest.raises(SettingError) as caught:
        spaces.require_actions(torque, (kinds.Discrete,), "dqn")
    assert str(caught.value) == "dqn needs Discrete actions, found Box(-2.0, 2.0, (1,), float32); use ppo, a2c or sac"
    with pytest.raises(SettingError, match=r"ppo needs Discrete, MultiDiscrete, MultiBinary or Box actions, found Tuple.*wrapper"):
        spaces.require_actions(kinds.Tuple((torque,)), spaces.ACTIONS, "ppo")


@pytest.mark.parametrize(
    ("space", "kind", "outputs"),
    [
        (kinds.Discrete(4, start=2), distributions.Categorical, 4),
        (kinds.MultiDiscrete([2, 3, 3], start=[1, 0, -1]), distributions.MultiCategorical, 8),
        (kinds.MultiDiscrete([[2, 3], [4, 5]]), distributions.MultiCategorical, 14),
        (kinds.MultiBinary(3), distributions.Bernoulli, 3),
        (kinds.MultiBinary([2, 3]), distributions.Bernoulli, 6),
        (kinds.Box(-2, np.array([1, 3], np.float32), (2,)), distributions.DiagonalGaussian, 2),
        (kinds.Box(-np.inf, np.inf, (2, 3)), distributions.DiagonalGaussian, 6),
    ],
    ids=str,
)
def test_what_a_policy_draws_the_environment_takes(space, kind, outputs):
    assert spaces.policy_outputs(space) == outputs
    random = torch.Generator().manual_seed(0)
    policy = spaces.distribution(space, torch.randn(50, outputs, generator=random), torch.zeros(outputs))
    assert isinstance(policy, kind)
    to_environment = spaces.ToEnvironment(space)
    for action in (policy.sample(random), policy.mode()):
        assert policy.log_prob(action).shape == (50,)
        for row in to_environment(action).numpy():
            assert row.astype(space.dtype) in space


def test_an_action_range_from_minus_one_to_one_is_the_whole_box():
    to_environment = spaces.ToEnvironment(kinds.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32)))
    assert to_environment(torch.tensor([[-1.0, -1.0], [0.0, 0.5], [9.0, -9.0]])).tolist() == [[-2, 0], [0, 7.5], [2, 0]]
    assert not list(to_environment.state_dict())  # it follows from the space, so it is no part of the weights
