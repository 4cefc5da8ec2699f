"""What planners share: sweeping until it is enough, and saying what was found."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mprl.agents.tabular import bounds, reachability
from mprl.agents.tabular.checks import array
from mprl.agents.tabular.mdp import TabularMDP
from mprl.agents.tabular.outcomes import outcomes_of
from mprl.agents.tabular.policies import Ties, greatest, greedy
from mprl.agents.tabular.solution import Solution
from mprl.agents.tabular.sweeps import GaussSeidel, Order, Prioritized
from mprl.errors import SettingError, number

LIMIT = 1_000_000  # sweeps after which there is no end in sight


def iterate(
    mdp: TabularMDP, method: Order, tolerance: float, max_iterations: int | None, initial: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], int, int, float]:
    """Sweep until values are within the tolerance.

    Returns:
        Values (S,); action values (S, A) that are their backup; sweeps; backups; an error bound of the greatest of the action values,
        which is proven with discount < 1.
    """
    check_limits(tolerance, max_iterations)
    values = _initial_values(mdp, initial)
    horizon = mdp.discount / (1 - mdp.discount) if mdp.discount < 1 else np.inf
    sweeps: GaussSeidel | Prioritized | None = None
    if method != "synchronous":
        sweeps = GaussSeidel(mdp) if method == "gauss_seidel" else Prioritized(mdp)
    backups = 0
    for iteration in range(1, LIMIT + 1):
        if sweeps is None:
            action_values = mdp.backup(values)
            after = greatest(action_values)
            change = float(np.abs(after - values).max())
            bound = bounds.discounted(mdp, values, after)[1] if mdp.discount < 1 else np.inf
            backups += mdp.num_states
        else:
            change = sweeps.sweep(values)
            backups += sweeps.backups
            # a sweep in place is a γ-contraction too; what prioritized leaves is |TV − V|
            bound = horizon * (change + bounds.rounding(mdp, values))
        near = change < tolerance if mdp.discount == 1 else bound <= tolerance
        if near or change <= bounds.rounding(mdp, values) or iteration == max_iterations:
            break
        if sweeps is None:
            values = after
        if mdp.discount == 1 and iteration >= 1024 and iteration.bit_count() == 1:
            check_finite(mdp, values, iteration)
    else:
        raise no_end(change, tolerance)
    if sweeps is not None:
        action_values = mdp.backup(values)
    return values, action_values, iteration, backups, bound


def conclude(
    mdp: TabularMDP,
    before: NDArray[np.float64],
    action_values: NDArray[np.float64],
    iterations: int,
    backups: int,
    ties: Ties,
    bound: float = np.inf,
) -> Solution:
    """The solution that action values (S, A), the backup of values (S,), are; with a bound of its own, or one that is known already."""
    after = greatest(action_values)
    policy = greedy(mdp, action_values, ties)
    residual = float(np.abs(after - before).max())
    if mdp.discount == 1:
        return Solution(after, action_values, policy, iterations, backups, residual, bounds.undiscounted(mdp, before, action_values))
    shift, proven = bounds.discounted(mdp, before, after)
    if shift:
        shifts = np.where(mdp.terminal, 0.0, shift)
        after, action_values = after + shifts, action_values + shifts[:, None]
    return Solution(after, action_values, policy, iterations, backups, residual, min(proven, bound))


def check_finite(mdp: TabularMDP, values: NDArray[np.float64], sweeps: int) -> None:
    """Raise if the greedy policy can go on for ever in states whose values that many sweeps of it raise: others will raise them too."""
    chain = mdp.under(greedy(mdp, mdp.backup(values)))
    later = values
    for _ in range(sweeps):
        later = chain.backup(later)[:, 0]
    rising = later > values + 2 * sweeps * bounds.rounding(chain, later)
    states = np.flatnonzero(reachability.can_stay(chain, rising[:, None]))
    if len(states):
        raise SettingError(f"discount 1, but rewards can be collected for ever from state {states[0]}; use a discount below 1")


def no_end(change: float, tolerance: float) -> SettingError:
    """The error for an iteration that does not converge."""
    return SettingError(f"no end in sight after {LIMIT} sweeps: the last changed a value by {change:.3g}, the tolerance is {tolerance:g}")


def as_mdp(model: Any, discount: float | None) -> TabularMDP:
    """The model of a planner: a TabularMDP, or an environment's with a discount."""
    if isinstance(model, TabularMDP):
        return model if discount is None else model.with_discount(discount)
    if discount is None:
        outcomes_of(model)  # says that there is no model, which comes first
        raise SettingError("a planner needs the discount of an environment, as in ValueIteration(env, discount=0.99)")
    return TabularMDP.from_gymnasium(model, discount)


def check_limits(tolerance: float, max_iterations: int | None) -> None:
    """Raise unless these can end something."""
    number("tolerance", tolerance, least=0)
    if max_iterations is not None:
        number("max_iterations", max_iterations, least=1, whole=True)


def _initial_values(mdp: TabularMDP, initial: ArrayLike | None) -> NDArray[np.float64]:
    """Values (S,) to begin with, 0 in terminal states."""
    values = np.zeros(mdp.num_states) if initial is None else array("initial values", initial).copy()
    if values.shape != (mdp.num_states,) or not np.isfinite(values).all():
        raise SettingError(f"expected {mdp.num_states} finite initial values, found an array of shape {values.shape}")
    values[mdp.terminal] = 0.0
    return values
