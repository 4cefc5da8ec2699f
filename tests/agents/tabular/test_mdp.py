"""Models: where they come from, and what is wrong with those that are refused."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp

from mprl.agents import TabularMDP, ValueIteration
from mprl.errors import MprlError

# Two states: in 0, action 0 stays for a reward of 1, action 1 goes to 1 for 5; 1 leads back for nothing.
P = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
R = np.array([[1.0, 5.0], [0.0, 0.0]])
# γ = .5: V(0) = max(1 + V(0) / 2, 5 + V(1) / 2), V(1) = V(0) / 2, so V(0) = 5 / (1 − 1/4)
VALUES = [20 / 3, 10 / 3]


def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
    return [(p, s, R[state, action], False) for s, p in enumerate(P[state, action])]


@pytest.mark.parametrize(
    "mdp",
    [
        TabularMDP.from_arrays(P, R, 0.5),
        TabularMDP.from_arrays(P, np.repeat(R[:, :, None], 2, 2), 0.5),
        TabularMDP.from_sparse([sp.csr_matrix(P[:, action]) for action in range(2)], R, 0.5),
        TabularMDP.from_sparse(sp.coo_array(P.reshape(4, 2)), R, 0.5),
        TabularMDP.from_function(outcomes, 2, 2, 0.5),
        TabularMDP.from_arrays(P.astype(np.float32), R.astype(np.float32), 0.5),
    ],
    ids=["arrays", "rewards of transitions", "a matrix for each action", "stacked", "function", "float32"],
)
def test_all_ways_to_say_it_make_the_same_model(mdp: TabularMDP):
    assert ValueIteration(mdp).solve(1e-9).values == pytest.approx(VALUES, abs=1e-8)


def test_rewards_for_leaving_a_state():
    mdp = TabularMDP.from_arrays(P, [3.0, 0.0], 0.5)
    assert mdp.rewards.tolist() == [[3.0, 3.0], [0.0, 0.0]]


def test_an_end_has_no_future():
    # 0 → 1 for 5, and 1 is terminal whatever is said of it
    mdp = TabularMDP.from_arrays(P, R, 0.5, terminal=[1])
    assert mdp.termination[0].tolist() == [0.0, 1.0]
    assert ValueIteration(mdp).solve(1e-9).values == pytest.approx([5.0, 0.0])


def test_a_state_that_only_leads_to_itself_without_reward_is_terminal():  # Sutton & Barto, 3.4
    mdp = TabularMDP.from_arrays([[[0.5, 0.5]], [[0.0, 1.0]]], [1.0, 0.0], 1.0)
    assert mdp.terminal.tolist() == [False, True]
    assert ValueIteration(mdp).solve(1e-9).values == pytest.approx([2.0, 0.0])


@pytest.mark.parametrize("mask", [True, False], ids=["as a mask", "as a reward of -inf"])
def test_an_action_that_is_not_available_is_never_taken(mask: bool):
    there = np.array([[True, False], [True, True]])
    rewards = R if mask else np.where(there, R, -np.inf)
    mdp = TabularMDP.from_arrays(P, rewards, 0.5, available=there if mask else None)
    solution = ValueIteration(mdp).solve(1e-9)
    assert solution.values == pytest.approx([2.0, 1.0])
    assert solution.action_values[0, 1] == -np.inf
    assert mdp.random_policy().tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_frozen_lake_lists_the_same_successor_twice():
    mdp = TabularMDP.from_gymnasium(gym.make("FrozenLake-v1"), discount=0.9)
    assert mdp.transitions[[0]].toarray()[0, [0, 4]] == pytest.approx([2 / 3, 1 / 3])  # left: up and left stay, down moves
    assert np.flatnonzero(mdp.terminal).tolist() == [5, 7, 11, 12, 15]  # the holes and the goal


def test_the_goal_of_the_cliff_is_terminal_though_its_model_goes_on():
    mdp = TabularMDP.from_gymnasium(gym.make("CliffWalking-v1"), discount=1.0)
    assert np.flatnonzero(mdp.terminal).tolist() == [47]


class Models(gym.Env):
    """An environment that is its model."""

    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)

    def __init__(self, model) -> None:
        self.P = model


def test_an_action_missing_from_an_environments_model_is_not_available():
    model = {0: {0: [(1.0, np.int64(1), 1, True)]}, 1: {0: [(1.0, 0, 0, False)], 1: [(1.0, 1, 2, False)]}}
    mdp = TabularMDP.from_gymnasium(Models(model), discount=0.9)
    assert mdp.available.tolist() == [[True, False], [True, True]]


def wrong(probabilities: list[float]) -> np.ndarray:
    model = P.copy()
    model[1, 0] = probabilities
    return model


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TabularMDP.from_arrays(wrong([0.5, 0.4]), R, 0.5), "state 1, action 0: probabilities sum to 0.9, expected 1"),
        (lambda: TabularMDP.from_arrays(wrong([1.5, -0.5]), R, 0.5), "state 1, action 0: .* at least 0, found -0.5 for state 1"),
        (lambda: TabularMDP.from_arrays(wrong([np.nan, 1]), R, 0.5), "state 1, action 0: .* found nan"),
        (lambda: TabularMDP.from_arrays(P, R * np.nan, 0.5), "state 0, action 0: expected a finite reward, found nan"),
        (lambda: TabularMDP.from_arrays(P[:, :, :1], R, 0.5), r"shape \(states, actions, states\), found \(2, 2, 1\)"),
        (lambda: TabularMDP.from_arrays(P, R[:1], 0.5), r"rewards of shape \(2, 2\).*found \(1, 2\)"),
        (lambda: TabularMDP.from_arrays(P, R, 0.5, available=[True]), r"available of shape \(2, 2\), found \(1,\)"),
        (lambda: TabularMDP.from_arrays(P, R, 0.5, available=[[0, 0], [1, 1]]), "no action is available in state 0"),
        (lambda: TabularMDP.from_arrays(P, R, 0.5, terminal=[2]), r"terminal: expected states 0…1, found \[2\]"),
        (lambda: TabularMDP.from_arrays(P, R, 0.5, terminal=[True]), r"terminal: expected a mask of shape \(2,\)"),
        (lambda: TabularMDP.from_arrays(P, R, 1.5), r"discount must be in \[0, 1\], found 1.5"),
        (lambda: TabularMDP.from_arrays(P, R, float("nan")), "discount must be .* found nan"),
        (lambda: TabularMDP.from_arrays(P, R, 1.0), "discount 1 needs a terminal state, found none"),
        (lambda: TabularMDP.from_sparse([sp.eye(2), sp.eye(3)], R, 0.5), "one matrix .* for each action"),
        (lambda: TabularMDP.from_sparse(sp.eye(3, 2), R, 0.5), r"\(states · actions, states\), found \(3, 2\)"),
        (lambda: TabularMDP.from_function(lambda s, a: [(1.0, 2, 0.0, False)], 2, 1, 0.5), "next state 0…1, found 2"),
        (lambda: TabularMDP.from_function(lambda s, a: [(1.0, 1, 0.0)], 2, 1, 0.5), "probability, next state, reward, terminated"),
        (lambda: TabularMDP.from_function(lambda s, a: [(1.0, 0.5, 0.0, True)], 2, 1, 0.5), "found .1.0, 0.5, 0.0, True."),
        (lambda: TabularMDP.from_function(lambda s, a: [(-1.0, 1, 0.0, True)], 2, 1, 0.5), "at least 0, found -1.0"),
        (lambda: TabularMDP.from_gymnasium(gym.make("CartPole-v1"), 0.9), "CartPole-v1 has no model.*FrozenLake-v1"),
        (lambda: TabularMDP.from_gymnasium(Models({1: {0: []}}), 0.9), r"Models: expected P of states 0…0, found \[1\]"),
        (lambda: ValueIteration(gym.make("FrozenLake-v1")), "needs the discount.*ValueIteration"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(make, says: str):
    with pytest.raises(MprlError, match=says) as error:
        make()
    assert "\n" not in str(error.value)


def test_discount_one_where_no_end_can_be_reached():
    def lost(state: int, action: int):  # 0 → 1 or 2; 1 ends; 2 and 3 lead to each other
        return [[(1.0, 1 + action, 0, False)], [(1.0, 1, 1, True)], [(1.0, 3, -1, False)], [(1.0, 2, -1, False)]][state]

    with pytest.raises(MprlError, match="discount 1, but no policy ever ends from 2 states, state 2 the first"):
        TabularMDP.from_function(lost, 4, 2, 1.0)
    assert TabularMDP.from_function(lost, 4, 2, 0.9).num_states == 4
