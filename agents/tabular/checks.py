"""What is wrong with a model or a policy, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from mprl.errors import SettingError

if TYPE_CHECKING:
    from mprl.agents.tabular.mdp import TabularMDP

SUM_TOLERANCE = 1e-6  # of probabilities as they are given, in float32 perhaps; then they are divided by their sum


def check_probabilities(p: sp.csr_array, ending: NDArray[np.float64], alive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Raise unless the probabilities of going on (S·A, S) and of ending (S, A) are distributions where `alive` (S, A).

    Returns:
        Their sums, (S, A).
    """
    if len(p.data) and not p.data.min() >= 0:
        entry = int(np.flatnonzero(~(p.data >= 0))[0])
        state, action = divmod(int(np.searchsorted(p.indptr, entry, side="right")) - 1, alive.shape[1])
        at = f"state {state}, action {action}"
        raise SettingError(f"{at}: expected probabilities of at least 0, found {p.data[entry]} for state {p.indices[entry]}")
    sums = p.sum(1).reshape(alive.shape) + ending
    wrong = np.argwhere(alive & ~(np.abs(sums - 1) <= SUM_TOLERANCE))
    if len(wrong):
        state, action = wrong[0]
        raise SettingError(f"state {state}, action {action}: probabilities sum to {sums[state, action]:.9g}, expected 1")
    return sums


def check_rewards(rewards: NDArray[np.float64], alive: NDArray[np.bool_], terminal: NDArray[np.bool_]) -> None:
    """Raise unless rewards (S, A) are finite where `alive` (S, A), and every state (S,) that is not terminal has an action."""
    wrong = np.argwhere(alive & ~np.isfinite(rewards))
    if len(wrong):
        state, action = wrong[0]
        raise SettingError(f"state {state}, action {action}: expected a finite reward, found {rewards[state, action]}")
    stuck = np.flatnonzero(~alive.any(1) & ~terminal)
    if len(stuck):
        raise SettingError(f"no action is available in {listed(stuck)}; make an action available or the state terminal")


def array(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Numbers as an array; as it is where it is one.

    Raises:
        SettingError: they are none.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SettingError(f"expected {name} as an array of numbers: {str(error)[:120]}") from None


def check_policy(mdp: TabularMDP, policy: ArrayLike) -> NDArray[np.float64]:
    """Probabilities (S, A) of a policy that is given as them, as actions (S,), or as a `Solution`.

    Raises:
        SettingError: another shape, rows that do not sum to one, actions that are not available.
    """
    given = probabilities(policy, mdp.rewards.shape)
    refused = np.argwhere((given > 0) & ~mdp.available)
    if len(refused):
        raise SettingError(f"policy, state {refused[0][0]}: action {refused[0][1]} is not available there")
    return given


def probabilities(policy: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Probabilities (S, A) of a policy that is given as them, as actions (S,), or as what has a `policy`.

    Raises:
        SettingError: another shape, or rows that do not sum to one.
    """
    given = np.asarray(getattr(policy, "policy", policy))
    if given.shape == shape[:1]:
        if not np.issubdtype(given.dtype, np.integer) or ((given < 0) | (given >= shape[1])).any():
            raise SettingError(f"expected a policy of actions 0…{shape[1] - 1}, found {given.min()}…{given.max()} as {given.dtype}")
        given = np.eye(shape[1])[given]
    if given.shape != shape:
        raise SettingError(f"expected a policy of shape {shape[:1]} or {shape}, found {given.shape}")
    given = given.astype(np.float64, copy=False)
    wrong = np.flatnonzero(~(np.abs(given.sum(1) - 1) <= SUM_TOLERANCE) | (given < 0).any(1))
    if len(wrong):
        raise SettingError(f"policy, state {wrong[0]}: expected probabilities that sum to 1, found {given[wrong[0]].tolist()}")
    return given


def state_mask(states: ArrayLike, num_states: int) -> NDArray[np.bool_]:
    """(S,), a mask of terminal states that are given as one or as a list."""
    given = np.asarray(states)
    if given.dtype == bool:
        if given.shape != (num_states,):
            raise SettingError(f"terminal: expected a mask of shape ({num_states},), found {given.shape}")
        return given.copy()
    numbers = np.atleast_1d(given)
    whole = np.issubdtype(given.dtype, np.integer) or not given.size
    if not whole or ((numbers < 0) | (numbers >= num_states)).any():
        raise SettingError(f"terminal: expected states 0…{num_states - 1}, found {numbers.tolist()}")
    mask = np.zeros(num_states, dtype=bool)
    mask[numbers.astype(np.int64)] = True
    return mask


def listed(states: NDArray[np.int64]) -> str:
    """The states of an error: "state 7", "3 states, state 7 the first"."""
    return f"state {states[0]}" if len(states) == 1 else f"{len(states)} states, state {states[0]} the first"
