"""Models written as lists of what can happen, as Gymnasium's `P`: (probability, next state, reward, terminated)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import index
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mprl.errors import SettingError

Outcome = tuple[float, int, float, bool]
Model = Callable[[int, int], Iterable[Outcome]]


def collect(
    model: Model, num_states: int, num_actions: int
) -> tuple[sp.csr_array, NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Matrices of a model that is asked for each state and action.

    Args:
        model: (state, action) → its outcomes; none where the action is not available.
        num_states, num_actions: S and A.

    Returns:
        Probabilities of going on (S·A, S); expected rewards (S, A), −inf for actions that are not available; probabilities of ending
        (S, A); states (S,) that are entered by ending transitions only.

    Raises:
        SettingError: an outcome that is not four things, or leads to a state that there is not.
    """
    rewards = np.full((num_states, num_actions), -np.inf)
    termination = np.zeros((num_states, num_actions))
    entered_at_the_end, entered = np.zeros(num_states, dtype=bool), np.zeros(num_states, dtype=bool)
    rows, columns, probabilities = [], [], []
    for state in range(num_states):
        for action in range(num_actions):
            expected = None
            for outcome in _listed(model, state, action):
                try:
                    probability, next_state, reward, terminated = outcome
                    next_state, probability, reward = index(next_state), float(probability), float(reward)
                except (TypeError, ValueError):
                    raise SettingError(
                        f"state {state}, action {action}: expected (probability, next state, reward, terminated), found {outcome!r}"
                    ) from None
                if not 0 <= next_state < num_states:
                    raise SettingError(f"state {state}, action {action}: expected a next state 0…{num_states - 1}, found {next_state}")
                if not probability >= 0:
                    raise SettingError(f"state {state}, action {action}: expected probabilities of at least 0, found {probability}")
                expected = (expected or 0.0) + (probability * reward if probability else 0.0)
                if terminated:
                    termination[state, action] += probability
                    entered_at_the_end[next_state] |= probability > 0
                elif probability > 0:
                    entered[next_state] = True
                    rows.append(state * num_actions + action)
                    columns.append(next_state)
                    probabilities.append(probability)
            if expected is not None:
                rewards[state, action] = expected
    shape = (num_states * num_actions, num_states)
    transitions = sp.csr_array((np.asarray(probabilities, dtype=np.float64), (rows, columns)), shape=shape)  # sums what is listed twice
    return transitions, rewards, termination, entered_at_the_end & ~entered


def _listed(model: Model, state: int, action: int) -> Iterable[Outcome]:
    outcomes: Any = model(state, action)
    if not isinstance(outcomes, Iterable):
        raise SettingError(
            f"state {state}, action {action}: expected a list of (probability, next state, reward, terminated), found {outcomes!r}"
        )
    return outcomes


def outcomes_of(env: Any) -> tuple[Model, int, int, NDArray[np.bool_]]:
    """The model of an environment that has one in `unwrapped.P`: `P[state][action] = [(probability, next state, reward, terminated), ...]`.

    Returns:
        (state, action) → outcomes; S; A; the states (S,) in which episodes begin, as far as the environment says in
        `initial_state_distrib`. Actions that `P[state]`, or the environment's `available` (S, A), does not have lead to nothing.

    Raises:
        SettingError: it has none.
    """
    bare = getattr(env, "unwrapped", env)
    if not hasattr(bare, "P") and getattr(bare, "envs", None):  # a batch of copies
        bare = bare.envs[0].unwrapped
    name = bare.spec.id if getattr(bare, "spec", None) is not None else type(bare).__name__
    table = getattr(bare, "P", None)
    if table is None:
        raise SettingError(
            f"{name} has no model: a planner needs a TabularMDP or an environment with P, such as FrozenLake-v1 or mprl/Cliff-v0"
        )
    rows = [dict(row) if isinstance(row, Mapping) else dict(enumerate(row)) for row in _in_order(table, name)]
    num_states, num_actions = len(rows), 1 + max((max(row, default=-1) for row in rows), default=-1)
    available = getattr(bare, "available", None)
    if available is not None:
        rows = [{action: row[action] for action in row if available[state][action]} for state, row in enumerate(rows)]
    initial = np.asarray(getattr(bare, "initial_state_distrib", np.zeros(num_states))) > 0
    return lambda state, action: rows[state].get(action, ()), num_states, num_actions, initial


def _in_order(table: Any, name: str) -> list[Any]:
    if not isinstance(table, Mapping):
        return list(table)
    if set(table) != set(range(len(table))):
        raise SettingError(f"{name}: expected P of states 0…{len(table) - 1}, found {list(table)[:8]}")
    return [table[state] for state in range(len(table))]
