"""How far values are from the exact ones, at most: MacQueen's bounds with discount < 1, expected steps to the end with discount 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular import reachability
from mprl.agents.tabular.mdp import TabularMDP
from mprl.agents.tabular.policies import best_actions, greatest


def discounted(mdp: TabularMDP, before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
    """What one synchronous backup says of the exact values, for discount < 1 (Puterman, 6.6.1).

    V* − after lies in γ/(1 − γ) · [min δ, max δ] with δ = after − before. Where no episode ever ends, the middle of that is added to
    all values, and what remains is half the span; elsewhere an end, worth 0, holds the values where they are.

    Args:
        mdp: the model.
        before, after: values (S,), after = max over actions of the backup of before.

    Returns:
        What to add to `after`, and the greatest error that is left; rounding is counted.
    """
    change = (after - before)[~mdp.terminal] if mdp.terminal.any() else after - before
    if not len(change):
        return 0.0, 0.0
    low, high = float(change.min()), float(change.max())
    horizon = 1 / (1 - mdp.discount)
    slack = rounding(mdp, after) * horizon
    if mdp.never_ends:
        return mdp.discount * horizon * (low + high) / 2, mdp.discount * horizon * (high - low) / 2 + slack
    return 0.0, mdp.discount * horizon * max(-low, high, 0.0) + slack


def undiscounted(mdp: TabularMDP, before: NDArray[np.float64], action_values: NDArray[np.float64]) -> float:
    """The same for discount 1, where a change counts as often as there are steps to come.

    Let w bound the expected steps to the end of every policy that takes only the best actions, and c the change of one backup. Then the
    best are worth no less than V − c w, and if one backup raises V + c w nowhere, no policy that ends is worth more than that. An action
    that does raise it may be among the best, for all that is known: then it is counted to them, and all is tried again.

    Args:
        mdp: the model.
        before: values (S,).
        action_values: (S, A), their backup.

    Returns:
        The greatest |V* − max of action values|, among the policies that end; nan where nothing is proven.
    """
    change = float(np.abs(greatest(action_values) - before).max(initial=0.0))
    slack = 4 * rounding(mdp, before)
    best = best_actions(action_values) & mdp.available
    for _ in range(mdp.num_actions):
        steps = most_steps(mdp, best)
        if not np.isfinite(steps).all():
            break
        above = before + 2 * (change + slack) * steps
        raised = mdp.available & ~mdp.terminal[:, None] & (mdp.backup(above) > above[:, None] - slack)
        if not raised.any():
            return float(2 * (change + slack) * steps.max(initial=0.0)) + change
        best |= raised
    return float("nan")


def most_steps(mdp: TabularMDP, allowed: NDArray[np.bool_], sweeps: int = 10_000) -> NDArray[np.float64]:
    """(S,), no less than the expected steps to the end under any policy of allowed actions; inf where nothing is found.

    If 1 + P w ≤ w + d for all of these actions, with d < 1, then w / (1 − d) is no less than the expected steps.
    """
    unknown = np.full(mdp.num_states, np.inf)
    if reachability.can_stay(mdp, allowed).any():
        return unknown
    steps = np.zeros(mdp.num_states)
    for _ in range(sweeps):
        longer = np.where(allowed, 1 + (mdp.transitions @ steps).reshape(allowed.shape), 0.0).max(1)
        longer[mdp.terminal] = 0.0
        more = (longer - steps).max(initial=0.0)
        if more < 0.5:
            return steps / (1 - more) * (1 + 1e-9)
        steps = longer
    return unknown


def rounding(mdp: TabularMDP, values: NDArray[np.float64]) -> float:
    """What rounding can do to one backup of values (S,), at most."""
    successors, reward = mdp.scale
    return float((successors + 3) * np.finfo(np.float64).eps * (reward + np.abs(values).max(initial=0.0)))
