"""From action values to a policy."""

from __future__ import annotations

from functools import reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular import reachability
from mprl.agents.tabular.mdp import TabularMDP

Ties = Literal["first", "split"]
TIE = 1e-9  # values that differ by less, of 1 or of the greatest value, are the same but for rounding


def greedy(mdp: TabularMDP, action_values: NDArray[np.float64], ties: Ties = "first") -> NDArray[np.float64]:
    """The policy (S, A) that takes the best action.

    Args:
        mdp: the model.
        action_values: (S, A).
        ties: of actions that are equally good up to rounding, take the first, or all of them with the same probability. With
            discount 1 the first of those that lead on towards an end: going round in circles for ever is no solution.
    """
    best = best_actions(action_values)
    if mdp.discount == 1:
        if ties == "first" and np.isfinite(reachability.steps_to_end(mdp, _first(best))).all():
            return _first(best).astype(np.float64)
        best &= ~_going_round(mdp, best, reachability.steps_to_end(mdp, best))
    return _first(best).astype(np.float64) if ties == "first" else best / best.sum(1, keepdims=True)


def greatest(action_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S,), max over actions of (S, A). A few columns are compared much faster than many rows searched."""
    return reduce(np.maximum, action_values.T[1:], action_values[:, 0].copy())


def best_actions(action_values: NDArray[np.float64], doubt: float = 0.0) -> NDArray[np.bool_]:
    """(S, A), the actions as good as the best, up to rounding and to differences of `doubt`."""
    best = greatest(action_values)
    return action_values >= (best - max(doubt, TIE * max(1.0, np.abs(best).max())))[:, None]


def _first(actions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    first = np.zeros_like(actions)
    first[np.arange(len(actions)), actions.argmax(1)] = True
    return first


def towards_an_end(mdp: TabularMDP, steps: NDArray[np.float64]) -> NDArray[np.int64]:
    """(S,), actions that come to an end wherever one can be reached, and soon.

    Args:
        mdp: the model.
        steps: `reachability.steps_to_end`, (S,).
    """
    expected = (mdp.transitions @ np.minimum(steps, mdp.num_states)).reshape(mdp.rewards.shape)
    expected[_going_round(mdp, mdp.available, steps)] = np.inf
    return np.where(mdp.available, expected, np.inf).argmin(1)


def _going_round(mdp: TabularMDP, allowed: NDArray[np.bool_], steps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(S, A), actions that cannot bring an end nearer, in states where others that are allowed can.

    Args:
        mdp: the model.
        allowed: (S, A).
        steps: to an end by allowed actions, (S,).
    """
    ahead = np.append(steps[mdp.transitions.indices], np.inf)  # the last for rows at the end of which nothing is
    nearest = np.minimum.reduceat(ahead, mdp.transitions.indptr[:-1])
    nearest[np.diff(mdp.transitions.indptr) == 0] = np.inf
    nearest = np.where(mdp.termination > 0, 0.0, nearest.reshape(mdp.rewards.shape))
    return np.isfinite(steps)[:, None] & (nearest >= steps[:, None]) & ~mdp.terminal[:, None]
