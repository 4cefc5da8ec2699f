"""Modified policy iteration: improve the policy, evaluate it a little, improve it again (Puterman, 6.5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mprl.agents.tabular import bounds, reachability
from mprl.agents.tabular.dynamic_programming import PolicyEvaluation
from mprl.agents.tabular.iteration import LIMIT, as_mdp, check_finite, check_limits, conclude, no_end
from mprl.agents.tabular.mdp import TabularMDP
from mprl.agents.tabular.policies import TIE, Ties, greatest, towards_an_end
from mprl.agents.tabular.solution import Solution
from mprl.agents.tabular.sparse import add_product
from mprl.errors import number

FEW = 0.25  # of the states


class ModifiedPolicyIteration:
    """The planner for large models: most of its sweeps are over one action a state, and none is waited for to converge.

    Where ends are far, as in a maze, news of them travels one step a sweep. There the states are put in order of their distance from
    an end, and only those are swept that the news has reached and that it still changes.

    Args:
        model: a TabularMDP, or an environment that has `P`.
        discount: γ; needed with an environment, otherwise in place of the model's own.
        sweeps: of evaluation between two improvements, at most.
    """

    def __init__(self, model: Any, discount: float | None = None, sweeps: int = 10) -> None:
        self.mdp = as_mdp(model, discount)
        self.sweeps = number("sweeps", sweeps, least=1, whole=True)

    def solve(self, tolerance: float = 1e-6, max_iterations: int | None = None, ties: Ties = "first") -> Solution:
        """Iterate until the values are proven to be within `tolerance` of the best; with discount 1, until no value changes as much.

        Args:
            tolerance: in units of the reward. What is below rounding is not waited for: see `Solution.error_bound`.
            max_iterations: stop after so many improvements in any case.
            ties: see `greedy`.

        Raises:
            SettingError: rewards that can be collected for ever (discount 1).
        """
        check_limits(tolerance, max_iterations)
        mdp, everything = self.mdp, slice(0, self.mdp.num_states)
        small = tolerance * ((1 - mdp.discount) / max(mdp.discount, 0.5) if mdp.discount < 1 else 1) / 2
        values = _pessimistic(mdp)
        order, distance = _by_distance(mdp, values, small)
        if order is not None:
            mdp, values, distance = mdp.reordered(order), values[order], distance[order]
        policy = towards_an_end(mdp, distance) if distance is not None else None
        chosen, window, iterations, backups = _Chosen(mdp), everything, 0, 0
        while True:
            iterations += 1
            if iterations == max_iterations:
                window = everything
            action_values = mdp.backup(values, window)
            after = greatest(action_values)
            change = after - values[window]
            most = _most(mdp, change)
            backups += len(change)
            if window == everything:
                near = most < tolerance if mdp.discount == 1 else bounds.discounted(mdp, values, after)[1] <= tolerance
                if near or most <= bounds.rounding(mdp, values) or iterations == max_iterations:
                    break
            if iterations == LIMIT:
                raise no_end(most, tolerance)
            if mdp.discount == 1 and iterations >= 64 and iterations.bit_count() == 1:
                check_finite(mdp, values, 16 * iterations)
            if policy is None:
                policy = action_values.argmax(1)
            _improve(policy[window], action_values, after)
            values[window] = after
            if distance is not None:
                moving = np.flatnonzero(np.abs(change) > small)
                if not len(moving):
                    window = everything
                    continue
                farthest = distance[window.start + moving[-1]] + self.sweeps
                window = slice(window.start + int(moving[0]), int(np.searchsorted(distance, farthest, side="right")))
            chosen.take(policy[window], window)
            backups += self._evaluate(chosen, values, window, most)
        if order is not None:
            place = np.argsort(order)
            values, action_values = values[place], action_values[place]
        return conclude(self.mdp, values, action_values, iterations, backups, ties)

    def _evaluate(self, chosen: _Chosen, values: NDArray[np.float64], window: slice, most: float) -> int:
        """Sweep a window of the states with their present actions, in place, until little changes; how many backups it took."""
        for sweep in range(1, self.sweeps + 1):
            new = chosen.backup(values)
            calm = sweep.bit_count() == 1 and _most(chosen.mdp, new - values[window]) < 0.1 * most
            values[window] = new
            if calm:
                break
        return sweep * len(new)


class _Chosen:
    """The rows of the model that a policy chooses. Where few actions are others than when all were copied, only theirs are copied."""

    def __init__(self, mdp: TabularMDP) -> None:
        self.mdp = mdp
        self._window: slice | None = None  # of which rows were copied
        self._rows = np.empty(0, dtype=np.int64)

    def take(self, actions: NDArray[np.int64], window: slice) -> None:
        """Actions (n,) of a window of n states."""
        rows = np.arange(window.start, window.stop) * self.mdp.num_actions + actions
        self._rewards = self.mdp.rewards.ravel()[rows]
        self._others = np.flatnonzero(rows != self._rows) if window == self._window else np.arange(len(rows))
        if len(self._others) > FEW * len(rows):
            self._window, self._rows, self._transitions = window, rows, self._discounted(rows)
            self._others = self._others[:0]
        elif len(self._others):
            self._laid_over = self._discounted(rows[self._others])

    def backup(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) from the values of all states (S,)."""
        new = self._rewards.copy()
        add_product(new, self._transitions, values)
        if len(self._others):
            new[self._others] = self._rewards[self._others] + self._laid_over @ values
        return new

    def _discounted(self, rows: NDArray[np.int64]) -> sp.csr_array:
        chosen = self.mdp.transitions[rows]
        chosen.data *= self.mdp.discount
        return chosen


def _most(mdp: TabularMDP, change: NDArray[np.float64]) -> float:
    """How far values still move. Where no episode ever ends, that they all move together is nothing."""
    low, high = float(change.min()), float(change.max())
    return (high - low) / 2 if mdp.never_ends and mdp.discount < 1 else max(-low, high)


def _pessimistic(mdp: TabularMDP) -> NDArray[np.float64]:
    """Values (S,) that no backup lowers: from them the iteration rises to the best ones (Puterman, theorem 6.5.5)."""
    if mdp.discount == 1:
        policy = towards_an_end(mdp, reachability.steps_to_end(mdp))
        return PolicyEvaluation(mdp, policy).solve().values.copy()
    values = np.zeros(mdp.num_states)
    if not mdp.never_ends:
        lowest = mdp.rewards[mdp.available].min()
        values[~mdp.terminal] = min(lowest, 0.0) / (1 - mdp.discount)
    return values


def _by_distance(mdp: TabularMDP, values: NDArray[np.float64], small: float) -> tuple[Any, Any]:
    """States in order of their steps to an end (S,), and these steps in the order of the states (S,); None, None if that is no help."""
    if mdp.never_ends:
        return None, None
    moving = np.abs(greatest(mdp.backup(values)) - values) > small
    if moving.mean() > FEW:
        return None, None
    steps = reachability.steps_to_end(mdp)
    return np.argsort(steps, kind="stable"), steps


def _improve(policy: NDArray[np.int64], action_values: NDArray[np.float64], best: NDArray[np.float64]) -> None:
    """Take better actions, in place. An action that is as good as any stays: no circles among equals."""
    own = np.take_along_axis(action_values, policy[:, None], 1)[:, 0]
    better = np.flatnonzero(best > own + TIE * max(1.0, np.abs(best).max()))
    policy[better] = action_values[better].argmax(1)
