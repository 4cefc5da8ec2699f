"""The planners find what the book prints (Sutton & Barto, 2nd edition), to its digits."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from mprl.agents import ModifiedPolicyIteration, PolicyEvaluation, PolicyIteration, TabularMDP, ValueIteration
from mprl.agents.tabular.policies import best_actions

ORDERS = ("synchronous", "gauss_seidel", "prioritized")


def model(name: str, discount: float = 1.0, **settings) -> TabularMDP:
    return TabularMDP.from_gymnasium(gym.make(name, **settings), discount)


# --- Example 4.1: a 4 × 4 grid, −1 a step, two corners are the end ---------------------------------------------------------------

FIGURE_4_1 = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]


@pytest.fixture(scope="module")
def grid() -> TabularMDP:
    return model("mprl/Gridworld-v0")


@pytest.mark.parametrize("method", [*ORDERS, "exact"])
def test_the_random_policy_in_the_grid(grid: TabularMDP, method):  # Figure 4.1
    solution = PolicyEvaluation(grid, grid.random_policy(), method=method).solve(1e-6)
    assert solution.values.reshape(4, 4) == pytest.approx(np.array(FIGURE_4_1), abs=1e-4)
    assert np.abs(solution.values - np.ravel(FIGURE_4_1)).max() <= solution.error_bound < 1e-3


@pytest.mark.parametrize(("sweeps", "row"), [(1, [0, -1, -1, -1]), (3, [0, -2.4, -2.9, -3.0]), (10, [0, -6.1, -8.4, -9.0])])
def test_the_first_sweeps_in_the_grid(grid: TabularMDP, sweeps: int, row: list[float]):  # Figure 4.1
    solution = PolicyEvaluation(grid, grid.random_policy()).solve(max_iterations=sweeps)
    assert solution.values[:4] == pytest.approx(row, abs=0.051)  # the book prints −2.4 for −2.4375, −6.1 for −6.1379
    assert solution.iterations == sweeps


@pytest.mark.parametrize(("method", "sweeps"), [("synchronous", 173), ("gauss_seidel", 114)])
def test_how_many_sweeps_the_grid_takes(grid: TabularMDP, method, sweeps: int):
    assert PolicyEvaluation(grid, grid.random_policy(), method=method).solve(1e-4).iterations == sweeps


def test_the_best_way_out_of_the_grid(grid: TabularMDP):
    """The random policy's greedy one is the best there is, as the book remarks: one improvement."""
    solution = PolicyIteration(grid).solve()
    assert solution.iterations == 1
    assert solution.values.reshape(4, 4).tolist() == [[0, -1, -2, -3], [-1, -2, -3, -2], [-2, -3, -2, -1], [-3, -2, -1, 0]]


# --- Examples 3.5 and 3.8: a 5 × 5 grid with the special states A and B, γ = .9 ---------------------------------------------------


def test_the_random_policy_with_two_special_states():  # Figure 3.2
    mdp = model("mprl/GridworldAB-v0", discount=0.9)
    values = PolicyEvaluation(mdp, mdp.random_policy()).solve().values.reshape(5, 5)
    assert values.round(1).tolist() == [
        [3.3, 8.8, 4.4, 5.3, 1.5],
        [1.5, 3.0, 2.3, 1.9, 0.5],
        [0.1, 0.7, 0.7, 0.4, -0.4],
        [-1.0, -0.4, -0.4, -0.6, -1.2],
        [-1.9, -1.3, -1.2, -1.4, -2.0],
    ]


@pytest.mark.parametrize("planner", [ValueIteration, PolicyIteration, ModifiedPolicyIteration])
def test_the_best_policy_with_two_special_states(planner):  # Figure 3.5
    solution = planner(model("mprl/GridworldAB-v0", discount=0.9)).solve(ties="split")
    assert solution.values.reshape(5, 5).round(1).tolist() == [
        [22.0, 24.4, 22.0, 19.4, 17.5],
        [19.8, 22.0, 19.8, 17.8, 16.0],
        [17.8, 19.8, 17.8, 16.0, 14.4],
        [16.0, 17.8, 16.0, 14.4, 13.0],
        [14.4, 16.0, 14.4, 13.0, 11.7],
    ]
    # how many arrows the figure has in each cell
    arrows = [[1, 4, 1, 4, 1], [2, 1, 2, 1, 1], [2, 1, 2, 2, 2], [2, 1, 2, 2, 2], [2, 1, 2, 2, 2]]
    assert (solution.policy > 0).sum(1).reshape(5, 5).tolist() == arrows


# --- Example 4.2: Jack's car rental, γ = .9 ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_jacks_car_rental():  # Figure 4.2
    mdp = model("mprl/JacksCarRental-v0", discount=0.9)
    solution = PolicyIteration(mdp).solve(initial_policy=np.full(mdp.num_states, 5))  # no cars are moved
    moves = solution.policy.argmax(1).reshape(21, 21) - 5
    assert solution.iterations == 4
    assert (moves.min(), moves.max()) == (-4, 5)
    assert (solution.values.min().round(2), solution.values.max().round(2)) == (421.41, 636.99)
    assert solution.error_bound < 1e-6


# --- Example 4.3: the gambler, heads .4 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ORDERS)
def test_the_gambler(method):  # Figure 4.3
    solution = ValueIteration(model("mprl/Gambler-v0"), method=method).solve(1e-12, ties="split")
    assert solution.values[[25, 50, 75]] == pytest.approx([0.16, 0.4, 0.64], abs=1e-9)
    assert solution.values[[1, 99]] == pytest.approx([0.002066, 0.964333], abs=5e-7)


def test_the_gamblers_stakes():  # Figure 4.3, and Exercise 4.9 on its odd form: one of many that are all the best
    solution = ValueIteration(model("mprl/Gambler-v0")).solve(1e-12)
    quarter = [*range(1, 13), *range(12, 0, -1)]
    assert solution.policy[1:100].argmax(1).tolist() == [*quarter, 25, *quarter, 50, *quarter, 25, *quarter]
    stakes = best_actions(solution.action_values)
    assert [np.flatnonzero(stakes[capital]).tolist() for capital in (1, 13, 50, 51)] == [[1], [12, 13], [50], [1, 49]]


# --- Example 5.1: blackjack -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", [ValueIteration, PolicyIteration, ModifiedPolicyIteration])
def test_blackjack(planner):  # Figure 5.2
    hit = planner(model("mprl/Blackjack-v0")).solve().policy[:200, 1].reshape(2, 10, 10)
    #                                               ace  2   3   4   5   6   7   8   9  10
    assert (12 + hit.sum(1)).astype(int).tolist() == [[17, 13, 13, 12, 12, 12, 17, 17, 17, 17], [19, 18, 18, 18, 18, 18, 18, 18, 19, 19]]


# --- Examples 6.2, 6.5, 6.6, 8.1, 13.1 --------------------------------------------------------------------------------------------


def test_the_random_walk():  # Example 6.2
    assert PolicyEvaluation(model("mprl/RandomWalk-v0"), np.zeros(7, int)).solve(1e-9).values[1:6] == pytest.approx(np.arange(1, 6) / 6)


@pytest.mark.parametrize(("settings", "steps"), [({}, 15), ({"kings_moves": True}, 7), ({"kings_moves": True, "stand_still": True}, 7)])
def test_the_windy_gridworld(settings, steps: int):  # Example 6.5, Exercise 6.9
    solution = ValueIteration(model("mprl/WindyGridworld-v0", **settings)).solve()
    assert solution.values[30] == -steps
    assert solution.error_bound < 1e-9


START, SOFT = 36, 0.1


@pytest.mark.parametrize("name", ["mprl/Cliff-v0", "CliffWalking-v1"])
def test_the_cliff(name: str):  # Example 6.6
    cliff = model(name)
    solution = ValueIteration(cliff).solve()
    assert solution.values[START] == -13
    assert solution.error_bound < 1e-9
    exploring = SOFT / 4 + (1 - SOFT) * solution.policy
    assert PolicyEvaluation(cliff, exploring, method="exact").solve().values[START] == pytest.approx(-45.80, abs=0.005)


def test_the_best_of_the_soft_policies_walks_far_from_the_cliff():
    # the best ε-soft policy is the best policy of a world that puts in a random action with probability ε (Sutton & Barto, 5.4)
    cliff = model("mprl/Cliff-v0")
    p = cliff.transitions.toarray().reshape(48, 4, 48)
    p[:, :, 47] += cliff.termination
    p, r = ((1 - SOFT) * array + SOFT * array.mean(1, keepdims=True) for array in (p, cliff.rewards))
    soft = TabularMDP.from_arrays(p, r, discount=1.0, terminal=[47])
    for planner in (ValueIteration, PolicyIteration, ModifiedPolicyIteration):
        assert planner(soft).solve().values[START] == pytest.approx(-20.71, abs=0.005)


def test_the_maze_takes_fourteen_steps():  # Example 8.1
    assert ValueIteration(model("mprl/DynaMaze-v0", discount=0.95)).solve().values[18] == pytest.approx(0.95**13, abs=1e-6)


def test_the_short_corridor():  # Example 13.1: the best probability of right is 2 − √2, its value −11.66
    corridor = model("mprl/ShortCorridor-v0")

    def value(right: float) -> float:
        return PolicyEvaluation(corridor, np.tile([1 - right, right], (4, 1)), method="exact").solve().values[0]

    best = 2 - np.sqrt(2)
    assert value(best) == pytest.approx(-11.657, abs=5e-4)
    assert value(0.05) == pytest.approx(-82, abs=0.5)  # the figure's ε-greedy left
    assert value(0.95) == pytest.approx(-44, abs=0.5)  # the figure's ε-greedy right
    assert max(np.linspace(0.01, 0.99, 99), key=value) == pytest.approx(best, abs=0.01)


# --- Gymnasium's FrozenLake -------------------------------------------------------------------------------------------------------


def test_frozen_lake_reaches_the_goal_in_14_of_17_episodes():
    lake = model("FrozenLake-v1")
    for solution in (
        *(ValueIteration(lake, method=method).solve(1e-12) for method in ORDERS),
        PolicyIteration(lake).solve(),
        ModifiedPolicyIteration(lake).solve(1e-12),
    ):
        assert solution.values[0] == pytest.approx(14 / 17, abs=1e-9)
        # to stay in the top row for ever is greedy too, but reaches nothing: the policy that is found does not
        assert PolicyEvaluation(lake, solution, method="exact").solve().values[0] == pytest.approx(14 / 17, abs=1e-9)
        assert PolicyEvaluation(lake, solution).solve(max_iterations=100).values[0] == pytest.approx(0.7402, abs=5e-5)  # in 100 steps
