"""Thousands of copies at once are the same problem as one: the transitions are as often as P says, and episodes end as Gymnasium's do."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit, TransformReward
from numpy.testing import assert_array_equal
from scipy.special import chdtri

import mprl  # noqa: F401  registers the environments
from mprl.envs.tabular import TabularVectorEnv
from mprl.errors import ActionError, MprlError, SettingError

OURS = sorted(name for name, spec in gym.registry.items() if spec.namespace == "mprl" and ".tabular." in str(spec.entry_point))
MODES = list(AutoresetMode)
COIN = {0: {0: [(0.5, 0, 0.0, False), (0.5, 1, 1.0, True)]}, 1: {0: [(1.0, 1, 0.0, True)]}}


def play(envs, actions, seed=0):
    """Everything that comes out of steps, and the first observations before it."""
    seen = [envs.reset(seed=seed)]
    return seen + [envs.step(action) for action in actions]


def actions_for(envs, steps, seed=0):
    return np.random.default_rng(seed).integers(envs.single_action_space.n, size=(steps, envs.num_envs))


def without_the_large_one(names):
    """Jack's table takes seconds to make: his tests are slow ones."""
    return [pytest.param(name, marks=pytest.mark.slow) if name == "mprl/JacksCarRental-v0" else name for name in names]


# --- the interface -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", without_the_large_one(OURS))
def test_make_vec_gives_the_native_batch(env_id):
    envs = gym.make_vec(env_id, num_envs=5)
    assert isinstance(envs.unwrapped, TabularVectorEnv)
    assert envs.max_episode_steps == gym.spec(env_id).max_episode_steps
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    single = gym.make(env_id)
    assert (envs.single_observation_space, envs.single_action_space) == (single.observation_space, single.action_space)
    if env_id != "mprl/JacksCarRental-v0":  # of millions of outcomes
        assert envs.P == single.unwrapped.P
    for observation, *rest, _ in play(envs, actions_for(envs, 3))[1:]:
        assert observation in envs.observation_space
        assert [array.dtype for array in rest] == [np.float64, bool, bool]
        assert all(array.shape == (5,) for array in rest)


def test_arguments_of_the_environment_and_of_the_batch():
    envs = gym.make_vec("mprl/RandomWalk-v0", num_envs=2, states=19, left_reward=-1.0, max_episode_steps=7, autoreset_mode="NEXT_STEP")
    assert envs.single_observation_space.n == 21 and envs.max_episode_steps == 7
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP


@pytest.mark.parametrize("mode", MODES)
def test_what_was_returned_stays_as_it_is(mode):
    envs = TabularVectorEnv.from_env("mprl/RandomWalk-v0", num_envs=8, max_episode_steps=3, autoreset_mode=mode)
    returned = play(envs, actions_for(envs, 6))
    arrays = [value for step in returned for value in step[:-1]] + [value for *_, info in returned for value in info.values()]
    before = [array.copy() for array in arrays]
    for action in actions_for(envs, 6):
        envs.step(action)
    for array, copy in zip(arrays, before, strict=True):
        assert_array_equal(array, copy)
    for array in arrays:  # and what others do to it is nothing to the environment
        array[...] = 0
    assert not any(np.shares_memory(one, other) for i, one in enumerate(arrays) for other in arrays[:i])


# --- the same as single environments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [None, 25])
def test_the_cliff_is_stepped_as_gymnasium_steps_it(mode, limit):
    one = lambda: gym.make("CliffWalking-v1", max_episode_steps=limit)  # noqa: E731
    theirs = SyncVectorEnv([one] * 6, autoreset_mode=mode)
    ours = TabularVectorEnv.from_env(one(), num_envs=6, autoreset_mode=mode)
    actions = np.random.default_rng(1).choice(4, size=(400, 6), p=[0.3, 0.5, 0.15, 0.05])  # reaches the goal too
    ends = 0
    assert_array_equal(ours.reset(seed=0)[0], theirs.reset(seed=0)[0])
    for action in actions:
        mine, other = ours.step(action), theirs.step(action)
        for value, expected in zip(mine[:4], other[:4], strict=True):
            assert_array_equal(value, expected)
        ended = mine[2] | mine[3]
        ends += ended.sum()
        if mode == AutoresetMode.SAME_STEP and ended.any():
            assert_array_equal(mine[4]["_final_obs"], other[4]["_final_obs"])
            assert_array_equal(mine[4]["final_obs"][ended], other[4]["final_obs"][ended].astype(int))
        if mode == AutoresetMode.DISABLED and ended.any():
            for envs in (ours, theirs):
                observation, _ = envs.reset(options={"reset_mask": ended})
            assert_array_equal(observation[ended], 36)
    assert ends > 3


@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        ("FrozenLake-v1", {}),
        ("Taxi-v4", {"is_rainy": True}),
        ("mprl/WindyGridworld-v0", {"stochastic_wind": True, "kings_moves": True}),
        ("mprl/Blackjack-v0", {}),
        pytest.param("mprl/JacksCarRental-v0", {}, marks=pytest.mark.slow),
    ],
)
def test_transitions_are_as_often_as_p_says(env_id, settings):
    envs = TabularVectorEnv.from_env(env_id, num_envs=2000, autoreset_mode="DISABLED", **settings)
    table = envs.P
    state = next(s for s in range(len(table)) if len(table[s][1]) == max(len(actions[1]) for actions in table.values()))
    expected: dict[tuple, float] = {}
    for probability, new, reward, terminated in table[state][1]:
        expected[int(new), float(reward), terminated] = expected.get((int(new), float(reward), terminated), 0.0) + probability
    counts = dict.fromkeys(expected, 0)
    envs.reset(seed=0)
    tries = 10
    for _ in range(tries):
        envs.set_state({**envs.get_state(), "state": np.full(2000, state)})
        for new, reward, terminated in zip(*(array.tolist() for array in envs.step(np.ones(2000, int))[:3]), strict=True):
            counts[new, reward, terminated] += 1  # what is not in P is a KeyError
    often = [outcome for outcome, probability in expected.items() if probability * 2000 * tries > 5]
    probability = np.array([expected[outcome] for outcome in often] + [max(1e-9, 1.0 - sum(expected[outcome] for outcome in often))])
    count = np.array([counts[outcome] for outcome in often] + [2000 * tries - sum(counts[outcome] for outcome in often)])
    statistic = ((count - 2000 * tries * probability) ** 2 / (2000 * tries * probability)).sum()
    assert statistic < chdtri(max(1, len(often)), 1e-4)


def test_starts_are_as_often_as_the_environment_says():
    envs = TabularVectorEnv.from_env("Taxi-v4", num_envs=60_000)
    count = np.bincount(envs.reset(seed=0)[0], minlength=500)
    starts = envs.initial_state_distrib > 0
    assert (count[~starts] == 0).all() and starts.sum() == 300
    assert ((count[starts] - 200) ** 2 / 200).sum() < chdtri(299, 1e-4)


def test_the_best_policy_on_the_frozen_lake_succeeds_as_often_as_is_known():  # .7402 within 100 steps
    best = np.array([0, 3, 3, 3, 0, 0, 0, 0, 3, 1, 0, 0, 0, 2, 1, 0])
    envs = TabularVectorEnv.from_env("FrozenLake-v1", num_envs=1000)
    observation, _ = envs.reset(seed=0)
    episodes = successes = 0
    for _ in range(700):
        observation, reward, terminated, truncated, _ = envs.step(best[observation])
        episodes += np.count_nonzero(terminated | truncated)
        successes += reward.sum()
    assert episodes > 12_000
    assert successes / episodes == pytest.approx(0.7402, abs=0.015)


def test_the_reward_has_its_noise():
    envs = gym.make_vec("mprl/MaximizationBias-v0", num_envs=4000)
    envs.reset(seed=0)
    _, reward, terminated, _, _ = envs.step(np.zeros(4000, int))
    assert not reward.any() and not terminated.any()
    _, reward, terminated, _, _ = envs.step(np.arange(4000) % 10)
    assert terminated.all()
    assert reward.mean() == pytest.approx(-0.1, abs=0.05) and reward.std() == pytest.approx(1.0, abs=0.04)


def test_states_that_look_alike():
    envs = gym.make_vec("mprl/ShortCorridor-v0", num_envs=3, aliased=True)
    steps = play(envs, [np.array(action) for action in ([1, 1, 0], [0, 1, 1], [1, 1, 1])])
    assert all(not step[0].any() for step in steps)
    assert list(steps[-1][2]) == [True, False, False]


def test_a_truncated_episode_did_not_terminate_and_tells_its_last_state():
    envs = TabularVectorEnv.from_env("mprl/GridworldAB-v0", num_envs=3, max_episode_steps=2)
    _, (first, *_), (_, _, terminated, truncated, info), _ = play(envs, np.full((3, 3), 2))
    assert not terminated.any() and truncated.all() and info["_final_obs"].all()
    down = lambda state: {1: 21, 3: 13}.get(state, min(state + 5, 20 + state % 5))  # noqa: E731
    assert list(info["final_obs"]) == [down(state) for state in first]
    assert envs._elapsed.tolist() == [1, 1, 1]


# --- going on exactly --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_going_on_from_a_saved_state_is_exact(mode):
    make = lambda: TabularVectorEnv.from_env("FrozenLake-v1", num_envs=50, max_episode_steps=12, autoreset_mode=mode)  # noqa: E731
    envs, other = make(), make()
    actions = actions_for(envs, 60)
    play(envs, actions[:30], seed=4)
    state = envs.get_state()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    other.set_state(state)
    for action in actions[30:]:
        for value, expected in zip(other.step(action)[:4], envs.step(action)[:4], strict=True):
            assert_array_equal(value, expected)


def test_a_seed_is_a_run():
    runs = [play(TabularVectorEnv.from_env("FrozenLake-v1", num_envs=20), np.full((50, 20), 1), seed) for seed in (7, 7, 8)]
    states = [np.array([step[0] for step in run]) for run in runs]
    assert_array_equal(states[0], states[1])
    assert (states[0] != states[2]).any()


# --- others use it -----------------------------------------------------------------------------------------------------------


def test_stable_baselines_takes_it():
    from mprl.envs import to_sb3

    envs = to_sb3(gym.make_vec("mprl/Cliff-v0", num_envs=2, max_episode_steps=3))
    assert list(envs.reset()) == [36, 36]
    for _ in range(3):
        observation, _, ended, infos = envs.step(np.array([0, 1]))
    assert ended.all() and list(observation) == [36, 36]
    assert infos[0]["terminal_observation"] == 0 and infos[0]["TimeLimit.truncated"]


def test_the_first_copies_are_drawn():
    envs = gym.make_vec("mprl/Cliff-v0", num_envs=20, render_mode="rgb_array")
    envs.reset(seed=0)
    frames = envs.render()
    assert len(frames) == 9 and frames[0].shape == (192, 576, 3)
    text = TabularVectorEnv.from_env("FrozenLake-v1", num_envs=1, render_mode="ansi")
    text.reset(seed=0)
    assert "FFF" in text.render()[0]


# --- mistakes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Blackjack-v1"])
def test_an_environment_without_p(env_id):
    with pytest.raises(SettingError, match=f"{env_id} has no P"):
        TabularVectorEnv.from_env(env_id)


def test_an_environment_that_does_not_say_where_it_starts():
    with pytest.raises(SettingError, match="no initial_state_distrib"):
        TabularVectorEnv(COIN)
    assert TabularVectorEnv(COIN, 4, initial_state_distrib=[1.0, 0.0]).reset()[0].tolist() == [0] * 4


@pytest.mark.parametrize(
    ("P", "message"),
    [
        ({0: {0: [(0.5, 0, 0.0, False)]}}, r"P\[0\]\[0\]: probabilities must be from 0 to 1 and sum to 1, found \[0.5\]"),
        ({0: {0: [(1.5, 0, 0.0, False), (-0.5, 0, 0.0, False)]}}, r"P\[0\]\[0\]: probabilities"),
        ({0: {0: []}}, r"P\[0\]\[0\]: probabilities"),
        ({0: {0: [(1.0, 3, 0.0, False)]}}, r"P\[0\]\[0\]: next states must be from 0 to 0, found \[3\]"),
        ({0: {0: [(1.0, 0, 0.0, False)]}, 1: {1: []}}, r"P\[1\]: expected the actions 0 to 0, found \[1\]"),
        ({}, "P must have the states 0, 1"),
    ],
)
def test_a_table_that_is_none_says_where(P, message):
    with pytest.raises(SettingError, match=message):
        TabularVectorEnv(P, initial_state_distrib=[1.0])


def test_a_wrapper_that_would_be_lost():
    with pytest.raises(SettingError, match="TransformReward would be lost"):
        TabularVectorEnv.from_env(TransformReward(gym.make("CliffWalking-v1"), lambda reward: -reward))
    limited = TabularVectorEnv.from_env(TimeLimit(gym.make("CliffWalking-v1"), 9))
    assert limited.max_episode_steps == 9


def test_more_than_p_tells():
    with pytest.raises(SettingError, match="fickle_passenger"):
        TabularVectorEnv.from_env("Taxi-v4", fickle_passenger=True)


@pytest.mark.parametrize("actions", [[0, 4], [0, -1], [0.0, 1.0], [0], [[0, 1]]])
def test_actions_that_are_none(actions):
    envs = TabularVectorEnv.from_env("CliffWalking-v1", num_envs=2)
    envs.reset()
    with pytest.raises(ActionError, match=r"actions? from 0 to 3, found|expected whole numbers of shape \(2,\)"):
        envs.step(np.array(actions))


@pytest.mark.parametrize(
    "settings", [{"num_envs": 0}, {"max_episode_steps": 0}, {"autoreset_mode": "SAME"}, {"initial_state_distrib": [0.5, 0.4]}]
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(MprlError) as caught:
        TabularVectorEnv(COIN, **{"initial_state_distrib": [1.0, 0.0], **settings})
    assert "\n" not in str(caught.value)
