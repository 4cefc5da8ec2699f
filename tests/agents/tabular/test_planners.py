"""What planners promise: the best values, bounds that hold, the order of their sweeps, policies that can be played."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy

from mprl.agents import ModifiedPolicyIteration, PolicyEvaluation, PolicyIteration, TabularMDP, ValueIteration
from mprl.agents.tabular import reachability, sparse
from mprl.agents.tabular.policies import towards_an_end
from mprl.errors import MprlError

ORDERS = ("synchronous", "gauss_seidel", "prioritized")


def random_mdp(seed: int, states: int = 30, actions: int = 3, discount: float = 0.9, ends: bool = False) -> TabularMDP:
    """Each action leads to four states; in `ends`, state 0 is terminal."""
    rng = np.random.default_rng(seed)
    p = np.zeros((states, actions, states))
    for row in p.reshape(-1, states):
        row[rng.choice(states, 4, replace=False)] = rng.dirichlet(np.ones(4))
    return TabularMDP.from_arrays(p, rng.normal(size=(states, actions)), discount, terminal=[0] if ends else [])


def every_policy_value(mdp: TabularMDP) -> np.ndarray:
    """(S,), the best of the values of all A^S policies, each from its linear equations."""
    values = []
    for number in range(mdp.num_actions**mdp.num_states):
        actions = np.array([number // mdp.num_actions**state % mdp.num_actions for state in range(mdp.num_states)])
        rows = np.arange(mdp.num_states) * mdp.num_actions + actions
        p = mdp.transitions.toarray()[rows]
        values.append(np.linalg.solve(np.eye(mdp.num_states) - mdp.discount * p, mdp.rewards.ravel()[rows]))
    return np.max(values, axis=0)


# --- what is proven -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid() -> TabularMDP:
    """Sutton & Barto, Example 4.1."""
    return TabularMDP.from_gymnasium(gym.make("mprl/Gridworld-v0"), discount=1.0)


@pytest.mark.parametrize(("seed", "ends"), [(0, False), (1, True), (2, False)])
def test_no_policy_is_better(seed: int, ends: bool):
    mdp = random_mdp(seed, states=6, ends=ends)
    best = every_policy_value(mdp)
    for method in ORDERS:
        solution = ValueIteration(mdp, method=method).solve(1e-8)
        assert solution.values == pytest.approx(best, abs=1e-8)
    assert PolicyIteration(mdp).solve().values == pytest.approx(best, abs=1e-8)
    assert ModifiedPolicyIteration(mdp).solve(1e-8).values == pytest.approx(best, abs=1e-8)


PLANNERS = {
    **{order: lambda mdp, order=order: ValueIteration(mdp, method=order) for order in ORDERS},
    "modified": ModifiedPolicyIteration,
}


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize(
    ("discount", "ends", "tolerance"), [(0.9, False, 1e-5), (0.99, False, 1.0), (0.99, True, 1.0), (1.0, True, 1e-5), (0.0, False, 1e-5)]
)
def test_no_value_is_further_from_the_best_than_is_proven(planner: str, discount: float, ends: bool, tolerance: float):
    mdp = random_mdp(7, discount=discount, ends=ends)
    if discount == 1:  # every step costs, or it would never end
        mdp = replace(mdp, rewards=np.where(mdp.terminal[:, None], 0.0, -np.abs(mdp.rewards)))
    best = PolicyIteration(mdp).solve().values
    solution = PLANNERS[planner](mdp).solve(tolerance)
    assert not np.abs(solution.values - best).max() > solution.error_bound + 1e-12
    if discount < 1:
        assert solution.error_bound <= tolerance
        played = PolicyEvaluation(mdp, solution, method="exact").solve().values
        assert (best - played).max() <= 2 * tolerance


def test_a_bound_is_told_where_the_tolerance_cannot_be_reached():
    solution = ValueIteration(random_mdp(0)).solve(tolerance=0.0)
    assert 0 < solution.error_bound < 1e-11


@pytest.mark.parametrize("planner", PLANNERS)
def test_an_interrupted_search_still_knows_how_wrong_it_is(planner: str):
    mdp = random_mdp(3, discount=0.99)
    solution = PLANNERS[planner](mdp).solve(max_iterations=2)
    error = np.abs(solution.values - PolicyIteration(mdp).solve().values).max()
    assert solution.iterations == 2
    assert 0 < error <= solution.error_bound


# --- large models ---------------------------------------------------------------------------------------------------------------


def maze(size: int, seed: int, discount: float, ends: int = 1, walls: float = 0.2, rewards: bool = False) -> TabularMDP:
    """A grid with walls, slippery, −1 a step (or random costs, and a place worth staying at), far from its ends."""
    rng = np.random.default_rng(seed)
    wall = rng.random((size, size)) < walls
    reward = np.where(rng.random(size**2) < 0.01, 2.0, -rng.random(size**2)) if rewards else np.full(size**2, -1.0)
    goals = rng.choice(np.flatnonzero(~wall.ravel()), ends, replace=False)

    def moved(state: int, move: int) -> int:
        row, column = divmod(state, size)
        down, right = [(-1, 0), (0, 1), (1, 0), (0, -1)][move % 4]
        to = (min(max(row + down, 0), size - 1), min(max(column + right, 0), size - 1))
        return state if wall[to] else to[0] * size + to[1]

    def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
        return [(p, moved(state, action + turn), reward[state], False) for p, turn in ((0.8, 0), (0.1, 1), (0.1, -1))]

    return TabularMDP.from_function(outcomes, size**2, 4, discount, terminal=goals)


@pytest.mark.parametrize(("seed", "rewards", "discount"), [(0, False, 0.9), (1, True, 0.99), (2, False, 0.99), (2, True, 0.9)])
def test_modified_policy_iteration_in_a_maze_where_some_places_have_no_way_out(seed: int, rewards: bool, discount: float):
    mdp = maze(25, seed, discount, ends=seed + 1, rewards=rewards)
    exact = PolicyIteration(mdp).solve()
    for tolerance in (1e-2, 1e-6):
        solution = ModifiedPolicyIteration(mdp).solve(tolerance)
        assert np.abs(solution.values - exact.values).max() <= solution.error_bound <= tolerance
        played = PolicyEvaluation(mdp, solution, method="exact").solve().values
        assert (exact.values - played).max() <= 2 * tolerance


def test_modified_policy_iteration_sweeps_where_the_news_of_an_end_is():
    def corridor(state: int, action: int) -> list[tuple[float, int, float, bool]]:
        return [(p, min(max(state + step, 0), 999), -1.0, False) for p, step in ((0.9, 2 * action - 1), (0.1, 0))]

    mdp = TabularMDP.from_function(corridor, 1000, 2, 0.999, terminal=[0])
    solution = ModifiedPolicyIteration(mdp).solve(1e-3)
    assert solution.backups < ValueIteration(mdp).solve(1e-3).backups / 4
    assert solution.policy[1:, 0].all()
    for sweeps in (1, 3, 50):
        assert ModifiedPolicyIteration(mdp, sweeps=sweeps).solve(1e-3).values == pytest.approx(solution.values, abs=2e-3)


def test_without_discount_a_maze_is_left_the_shortest_way():
    mdp = maze(20, 1, 1.0, walls=0.0)
    exact = PolicyIteration(mdp).solve()
    solution = ModifiedPolicyIteration(mdp).solve(1e-9)
    assert solution.values == pytest.approx(exact.values, abs=1e-6)
    assert np.abs(solution.values - exact.values).max() <= solution.error_bound < 1e-4


def test_the_same_bits_with_any_number_of_threads():
    mdp = random_mdp(0, states=300, actions=2)
    sparse.LARGE, large = 100, sparse.LARGE
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(ModifiedPolicyIteration(mdp).solve().values.tobytes())
    finally:
        sparse.LARGE = large
    assert len(set(found)) == 1


# --- orders of sweeps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_in_place_is_that_of_the_loop_over_states(seed: int):
    mdp = random_mdp(seed, states=40, ends=True)
    p = mdp.transitions.toarray().reshape(40, 3, 40)
    values = np.zeros(40)
    for _ in range(5):
        for state in range(40):
            values[state] = (mdp.rewards[state] + mdp.discount * p[state] @ values).max()
    solution = ValueIteration(mdp, method="gauss_seidel").solve(max_iterations=5)
    assert solution.action_values == pytest.approx(mdp.rewards + mdp.discount * p @ values, abs=1e-12)


def test_the_worst_first_needs_fewer_backups():
    mdp = TabularMDP.from_gymnasium(gym.make("FrozenLake-v1", map_name="8x8", is_slippery=False), discount=0.95)
    backups = {method: ValueIteration(mdp, method=method).solve(1e-6).backups for method in ORDERS}
    assert backups["prioritized"] < backups["synchronous"] / 2


# --- policies -------------------------------------------------------------------------------------------------------------------


def test_ties(grid: TabularMDP):
    # one cell from the middle, up and left both lead to the corner in two steps
    assert ValueIteration(grid).solve().policy[5].tolist() == [1, 0, 0, 0]
    split = ValueIteration(grid).solve(ties="split").policy
    assert split[5].tolist() == [0.5, 0, 0, 0.5]
    assert split[6].tolist() == [0.25, 0.25, 0.25, 0.25]  # Figure 4.1: all four arrows
    assert split.sum(1) == pytest.approx(1)


def test_a_terminal_state_that_is_never_reached_is_worth_nothing():
    mdp = TabularMDP.from_arrays([[[1.0, 0.0]], [[0.0, 1.0]]], [1.0, 0.0], 0.9)  # 0 stays for 1, 1 stays for nothing
    for planner in (ValueIteration(mdp), PolicyIteration(mdp), ModifiedPolicyIteration(mdp)):
        assert planner.solve().values == pytest.approx([10.0, 0.0])


def test_the_way_to_an_end_is_one_that_is_gone():
    # 0: stay, or try for 1, from where it ends, and fall back to 3 nine times of ten; the way from 3 leads over 2 to 0
    def step(state: int, action: int) -> list[tuple[float, int, float, bool]]:
        there = [[(1.0, 0)], [(0.1, 1), (0.9, 3)]][action] if state == 0 else [(1.0, {2: 0, 3: 2}.get(state, 1))]
        return [(p, to, -1.0, state == 1) for p, to in there]

    mdp = TabularMDP.from_function(step, 4, 2, discount=1.0)
    assert towards_an_end(mdp, reachability.steps_to_end(mdp))[0] == 1
    assert ModifiedPolicyIteration(mdp).solve().values == pytest.approx(PolicyIteration(mdp).solve().values, abs=1e-4)


@pytest.mark.slow
def test_policy_iteration_with_iterative_evaluation_ends():
    mdp = random_mdp(0, discount=0.99)
    best = PolicyIteration(mdp).solve().values
    for evaluation in ORDERS:
        assert PolicyIteration(mdp, evaluation=evaluation).solve(1e-3).values == pytest.approx(best, abs=0.5)


def test_a_policy_does_not_stay_for_nothing():
    # staying is as good as going, as long as one goes in the end
    mdp = TabularMDP.from_function(lambda s, a: [[(1.0, 0, 0, False)], [(1.0, 0, 1, True)]][a], 1, 2, discount=1.0)
    for solution in (ValueIteration(mdp).solve(), ModifiedPolicyIteration(mdp).solve(), PolicyIteration(mdp).solve()):
        assert solution.values.tolist() == [1.0]
        assert solution.policy.tolist() == [[0.0, 1.0]]


def test_a_policy_that_never_ends_has_no_value():
    mdp = TabularMDP.from_function(lambda s, a: [[(1.0, 0, -1, False)], [(1.0, 0, 1, True)]][a], 1, 2, discount=1.0)
    with pytest.raises(MprlError, match="this policy never ends from state 0"):
        PolicyEvaluation(mdp, [0])
    assert PolicyEvaluation(mdp, [0], discount=0.5).solve().values == pytest.approx([-2.0])


def test_rewards_for_ever():
    mdp = TabularMDP.from_function(lambda s, a: [[(1.0, 1 - s, s, False)], [(1.0, 0, 1, True)]][a], 2, 2, discount=1.0)
    for planner in (ValueIteration(mdp), ValueIteration(mdp, method="gauss_seidel"), ModifiedPolicyIteration(mdp), PolicyIteration(mdp)):
        with pytest.raises(MprlError, match="discount 1, but"):
            planner.solve()


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ([0, 1], r"policy of shape \(30,\) or \(30, 3\), found \(2,\)"),
        ([3] * 30, "policy of actions 0…2, found 3…3"),
        ([0.5] * 30, "policy of actions 0…2, found 0.5…0.5 as float64"),
        ([[0.5, 0.4, 0]] * 30, r"policy, state 0: expected probabilities that sum to 1, found \[0.5, 0.4, 0.0\]"),
        ([[1.5, -0.5, 0]] * 30, "policy, state 0"),
    ],
)
def test_what_is_no_policy(policy, says: str):
    with pytest.raises(MprlError, match=says):
        PolicyEvaluation(random_mdp(0), policy)


def test_settings_that_cannot_work():
    mdp = random_mdp(0)
    for wrong in (
        lambda: ValueIteration(mdp, method="jacobi"),
        lambda: ValueIteration(mdp).solve(tolerance=-1),
        lambda: ValueIteration(mdp).solve(max_iterations=0),
        lambda: ValueIteration(mdp).solve(initial=[0.0]),
        lambda: ModifiedPolicyIteration(mdp, sweeps=0),
    ):
        with pytest.raises(MprlError):
            wrong()


# --- playing --------------------------------------------------------------------------------------------------------------------


def test_a_solution_plays():
    env = gym.make("CliffWalking-v1")
    solution = ValueIteration(env, discount=1.0).solve()
    assert evaluate_policy(solution, env, n_eval_episodes=2, warn=False) == (-13.0, 0.0)
    assert solution.predict(36, deterministic=True) == (0, None)
    assert solution.predict(np.array([36, 25]))[0].tolist() == [0, 1]


def test_a_random_policy_is_played_as_often_as_it_says(grid: TabularMDP):
    policy = np.tile([0.1, 0.2, 0.3, 0.4], (16, 1))
    actions, _ = PolicyEvaluation(grid, policy).solve().predict(np.full(10_000, 5))
    assert np.bincount(actions) / 10_000 == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.02)


def test_a_solution_knows_its_states_only(grid: TabularMDP):
    solution = ValueIteration(grid).solve()
    for observation in (16, -1, 0.5):
        with pytest.raises(MprlError, match="expected states 0…15"):
            solution.predict(observation)
