"""The environments of Sutton & Barto's book have the book's numbers."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from numpy.testing import assert_allclose

import mprl  # noqa: F401  registers the environments
from mprl.errors import MprlError

ALL = sorted(name for name, spec in gym.registry.items() if spec.namespace == "mprl" and ".tabular." in str(spec.entry_point))


def arrays(env):
    """Transition probabilities (S, A, S), 0 after the end, and mean rewards (S, A)."""
    count, actions = len(env.P), len(env.P[0])
    transitions, rewards = np.zeros((count, actions, count)), np.zeros((count, actions))
    for s in range(count):
        for a in range(actions):
            for probability, new, reward, terminated in env.P[s][a]:
                transitions[s, a, new] += probability * (not terminated)
                rewards[s, a] += probability * reward
    return transitions, rewards


def values_of(env, discount=1.0, policy=None):
    """Values of a policy (S, A), by default the equiprobable one, from the linear equations; terminal states are 0."""
    transitions, rewards = arrays(env)
    policy = np.full(rewards.shape, 1.0 / rewards.shape[1]) if policy is None else policy
    inside = ~env.terminal
    chain = np.einsum("sa,sat->st", policy, transitions)[np.ix_(inside, inside)]
    values = np.zeros(len(rewards))
    values[inside] = np.linalg.solve(np.eye(len(chain)) - discount * chain, (policy * rewards).sum(1)[inside])
    return values


def best_values(env, discount=1.0, sweeps=2000):
    transitions, rewards = arrays(env)
    allowed = np.ones_like(rewards, dtype=bool) if env.available is None else env.available
    values = np.zeros(len(rewards))
    for _ in range(sweeps):
        before, values = values, np.where(allowed, rewards + discount * transitions @ values, -np.inf).max(1)
        if np.abs(values - before).max() < 1e-12:
            break
    return values, np.where(allowed, rewards + discount * transitions @ values, -np.inf)


def make(name, **settings):
    return gym.make(f"mprl/{name}-v0", **settings).unwrapped


# --- all of them -------------------------------------------------------------------------------------------------------------


def test_there_are_eleven():
    assert len(ALL) == 11


@pytest.mark.parametrize("env_id", ALL)
@pytest.mark.parametrize("render_mode", [None, "ansi", "rgb_array"])
@pytest.mark.filterwarnings("error")
def test_gymnasium_finds_nothing_wrong(env_id, render_mode):
    from gymnasium.utils.env_checker import check_env

    check_env(gym.make(env_id, render_mode=render_mode).unwrapped)


@pytest.mark.parametrize("env_id", ALL)
def test_probabilities_sum_to_one(env_id):
    env = gym.make(env_id).unwrapped
    different = {id(outcomes): outcomes for actions in env.P.values() for outcomes in actions.values()}
    for outcomes in different.values():
        probability, new, _, terminated = np.array(outcomes).T
        assert abs(probability.sum() - 1.0) < 1e-12 and (probability > 0.0).all()
        assert (env.terminal[new.astype(int)] == terminated).all()
    assert env.initial_state_distrib.sum() == pytest.approx(1.0)
    assert not env.initial_state_distrib[env.terminal].any()
    assert env.available is None or env.available.any(axis=1).all()


# --- one by one --------------------------------------------------------------------------------------------------------------


def test_example_3_5_the_random_policy_and_the_best():  # figures 3.2 and 3.5
    env = make("GridworldAB")
    assert_allclose(values_of(env, 0.9)[:5], [3.3, 8.8, 4.4, 5.3, 1.5], atol=0.05)
    assert_allclose(best_values(env, 0.9)[0][:5], [22.0, 24.4, 22.0, 19.4, 17.5], atol=0.05)


def test_example_4_1_the_random_policy():  # figure 4.1
    expected = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]
    assert_allclose(values_of(make("Gridworld")).reshape(4, 4), expected, atol=1e-9)


@pytest.mark.slow
def test_example_4_2_a_day():  # its values: tests/agents/tabular/test_dynamic_programming.py
    env = make("JacksCarRental")
    # nothing to rent, nothing moved: what comes back is Poisson with means 3 and 2
    assert env.P[0][5][0][:3] == (pytest.approx(np.exp(-5.0)), 0, pytest.approx(0.0))
    assert env.P[0][5][1][:2] == (pytest.approx(2.0 * np.exp(-5.0)), 1)
    # twenty cars at either place meet almost every request: 3 and 4 a day
    full = 20 * 21 + 20
    assert sum(p * r for p, _, r, _ in env.P[full][5]) == pytest.approx(70.0, abs=1e-3)
    assert sum(p * r for p, _, r, _ in env.P[full][10]) == pytest.approx(60.0, abs=1e-2)  # five moved, five over twenty sent away


def test_exercise_4_7_the_free_shuttle_and_the_car_park():
    book, modified = make("JacksCarRental"), make("JacksCarRental", modified=True)

    def saved(first, second, move):
        state = 21 * first + second
        return modified.outcomes(state, 5 + move)[0][2] - book.outcomes(state, 5 + move)[0][2]

    assert saved(5, 0, move=1) == pytest.approx(2.0)  # one car for nothing
    assert saved(5, 5, move=-1) == pytest.approx(0.0)  # but not the other way
    assert saved(11, 11, move=0) == pytest.approx(-8.0)
    assert saved(11, 10, move=1) == pytest.approx(2.0 - 4.0)


def test_example_4_3_the_probability_to_win():
    values, action_values = best_values(make("Gambler"))
    assert_allclose(values[[25, 50, 75]], [0.16, 0.4, 0.64], atol=1e-9)
    assert_allclose(values[[1, 99]], [0.002066, 0.964333], atol=5e-7)
    stakes = action_values.round(9).argmax(axis=1)
    assert list(stakes[[12, 25, 50, 51, 75]]) == [12, 25, 50, 1, 25]  # figure 4.3


def test_a_stake_that_is_too_high_is_cut():
    env = make("Gambler")
    assert env.P[3][50] == env.P[3][3] == [(0.4, 6, 0.0, False), (0.6, 0, 0.0, True)]
    assert list(np.flatnonzero(env.available[98])) == [1, 2]


def test_example_5_1_the_best_policy():  # figure 5.2
    env = make("Blackjack")
    hit = best_values(env)[1].argmax(axis=1)[:200].reshape(2, 10, 10)
    first_stick = 12 + (hit == 0).argmax(axis=1)
    #                               ace 2   3   4   5   6   7   8   9   10
    assert list(first_stick[0]) == [17, 13, 13, 12, 12, 12, 17, 17, 17, 17]
    assert list(first_stick[1]) == [19, 18, 18, 18, 18, 18, 18, 18, 19, 19]


def test_example_5_4_the_value_of_one_state():  # sticks on 20 and 21 only; 100 million episodes gave the book -0.27726
    env = make("Blackjack")
    policy = np.zeros((211, 2))
    policy[:, 1] = 1.0
    policy[80:100] = policy[180:210] = [1.0, 0.0]
    assert values_of(env, policy=policy)[100 + 10 + 1] == pytest.approx(-0.27726, abs=2e-4)


@pytest.mark.slow
def test_blackjack_is_gymnasiums_by_the_books_rules():
    env, other = make("Blackjack"), gym.make("Blackjack-v1", sab=True)
    policy = np.zeros((211, 2))  # of the dealer: hit below 17
    policy[:, 0] = 1.0
    policy[0:50] = policy[100:150] = [0.0, 1.0]
    expected = env.initial_state_distrib @ values_of(env, policy=policy)
    rewards = []
    for episode in range(6_000):
        (total, _, _), _ = other.reset(seed=1 if episode == 0 else None)
        over = False
        while not over:
            (total, _, _), reward, over, _, _ = other.step(int(total < 17))
        rewards.append(reward)
    assert np.mean(rewards) == pytest.approx(expected, abs=3.0 * np.std(rewards) / np.sqrt(len(rewards)))


def test_example_6_5_fifteen_steps():
    env = make("WindyGridworld")
    assert best_values(env)[0][30] == -15.0


def test_exercise_6_9_the_kings_moves():  # seven with the diagonals; to stand still is no help
    assert best_values(make("WindyGridworld", kings_moves=True))[0][30] == -7.0
    env = make("WindyGridworld", kings_moves=True, stand_still=True)
    assert env.action_space.n == 9
    assert best_values(env)[0][30] == -7.0


def test_exercise_6_10_the_wind_is_stochastic_where_there_is_any():
    env = make("WindyGridworld", kings_moves=True, stochastic_wind=True)
    assert [len(env.P[column][2]) for column in range(10)] == [1, 1, 1, 3, 3, 3, 3, 3, 3, 1]
    # one to the right of the goal, left: a wind of 1, so 0, 1 or 2 cells up
    assert [outcome[1] for outcome in env.P[38][3]] == [37, 27, 17]
    assert [outcome[3] for outcome in env.P[38][3]] == [True, False, False]


def test_example_6_2_and_7_1_the_true_values():
    assert_allclose(values_of(make("RandomWalk"))[1:-1], np.arange(1, 6) / 6)
    assert_allclose(values_of(make("RandomWalk", states=19, left_reward=-1.0))[1:-1], np.arange(-9, 10) / 10, atol=1e-12)


def test_example_6_6_thirteen_steps_along_the_edge_and_gymnasiums_cliff():
    env, other = make("Cliff"), gym.make("CliffWalking-v1").unwrapped
    assert best_values(env)[0][36] == -13.0
    for state in range(47):
        assert [env.P[state][action] for action in range(4)] == [other.P[state][action] for action in range(4)]


def test_example_6_7_the_reward_from_b():
    env = make("MaximizationBias")
    assert env.P[0][0] == [(1.0, 1, 0.0, False)] and env.P[0][1] == [(1.0, 2, 0.0, True)]
    env.reset(seed=0)
    rewards = []
    for _ in range(5_000):
        env.s = 1
        rewards.append(env.step(7)[1])
    assert np.mean(rewards) == pytest.approx(-0.1, abs=0.05)
    assert np.std(rewards) == pytest.approx(1.0, abs=0.04)


def test_figure_8_2_and_the_mazes_that_change():
    def shortest(**settings):
        return (
            round(
                np.log(best_values(make("DynaMaze", **settings), 0.95)[0] @ make("DynaMaze", **settings).initial_state_distrib)
                / np.log(0.95)
            )
            + 1
        )

    assert shortest() == 14
    assert (shortest(maze="blocking"), shortest(maze="blocking", changed=True)) == (10, 16)
    assert (shortest(maze="shortcut"), shortest(maze="shortcut", changed=True)) == (16, 10)


@pytest.mark.parametrize(("right", "value"), [(2.0 - np.sqrt(2.0), -11.657), (0.05, -82.0), (0.95, -44.0)])
def test_example_13_1_the_value_of_going_right_with_a_probability(right, value):
    policy = np.tile([1.0 - right, right], (4, 1))
    assert values_of(make("ShortCorridor"), policy=policy)[0] == pytest.approx(value, abs=0.6 if value < -12 else 1e-3)


def test_the_corridors_states_can_look_alike():
    env = make("ShortCorridor", aliased=True)
    assert env.observation_space.n == 1 and env.reset(seed=0)[0] == 0
    assert [env.step(action) for action in (1, 0, 1)][-1] == (0, -1.0, True, False, {})
    assert env.s == 3


# --- stepping ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"), [("WindyGridworld", {"stochastic_wind": True}), ("Gambler", {}), ("Blackjack", {}), ("RandomWalk", {})]
)
def test_steps_are_as_often_as_p_says(name, settings):
    env = make(name, **settings)
    state, action, tries = {"WindyGridworld": 44, "Gambler": 40, "Blackjack": 23, "RandomWalk": 2}[name], env.action_space.n - 1, 10_000
    env.reset(seed=3)
    counts: dict[tuple, int] = {}
    for _ in range(tries):
        env.s = state
        new, reward, terminated, _, _ = env.step(action)
        counts[new, reward, terminated] = counts.get((new, reward, terminated), 0) + 1
    expected: dict[tuple, float] = {}
    for probability, *outcome in env.P[state][action]:
        expected[tuple(outcome)] = expected.get(tuple(outcome), 0.0) + probability
    assert counts.keys() == expected.keys()
    for outcome, probability in expected.items():
        assert counts[outcome] / tries == pytest.approx(probability, abs=4.0 * np.sqrt(probability * (1 - probability) / tries))


def test_going_on_from_a_saved_state_is_exact():
    env = make("Blackjack")
    env.reset(seed=5)
    env.step(1)
    state = env.get_state()
    assert all(isinstance(value, np.ndarray) for value in state.values())

    def game():
        seen = [env.reset()[0] for _ in range(20)]
        return seen, [env.step(1) for _ in range(3)]

    first = game()
    other = make("Blackjack")
    other.set_state(state)
    env = other
    assert game() == first


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("RandomWalk", {"states": 4}, "must be odd, found 4"),
        ("Gambler", {"p_heads": 1.4}, "p_heads must be a probability"),
        ("MaximizationBias", {"actions": 1}, "at least 2 actions"),
        ("DynaMaze", {"maze": "dina"}, "did you mean 'dyna'"),
    ],
)
def test_a_setting_that_cannot_be_is_said_in_one_line(name, settings, message):
    with pytest.raises(MprlError, match=message) as caught:
        make(name, **settings)
    assert "\n" not in str(caught.value)


def test_an_action_that_is_none():
    env = make("Cliff")
    env.reset(seed=0)
    with pytest.raises(MprlError, match="from 0 to 3, found 4"):
        env.step(4)


def test_a_grid_is_drawn():
    text = gym.make("mprl/Cliff-v0", render_mode="ansi")
    text.reset(seed=0)
    assert text.render() == "............\n............\n............\n@CCCCCCCCCCG\n"
    picture = gym.make("mprl/Cliff-v0", render_mode="rgb_array")
    picture.reset(seed=0)
    frame = picture.render()
    assert frame.shape == (4 * 48, 12 * 48, 3) and frame.dtype == np.uint8
    assert tuple(frame[168, 24]) == (224, 138, 30)  # the agent, at the bottom left
