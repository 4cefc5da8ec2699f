"""Dynamic programming: policy evaluation, policy iteration, value iteration (Sutton & Barto, chapter 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import spsolve

from mprl.agents.tabular import bounds, reachability
from mprl.agents.tabular.checks import check_policy
from mprl.agents.tabular.mdp import TabularMDP
from mprl.agents.tabular.policies import Ties, best_actions, greatest, greedy
from mprl.agents.tabular.solution import Solution
from mprl.agents.tabular.sweeps import GaussSeidel, Order, Prioritized
from mprl.errors import SettingError

LIMIT = 1_000_000  # sweeps after which it is clear that there will be no end


class ValueIteration:
    """V(s) ← max over a of r(s, a) + γ Σ p(s′ | s, a) V(s′), until it does not change (Sutton & Barto, 4.4).

    Args:
        model: a TabularMDP, or an environment that has `P`.
        discount: γ; needed with an environment, otherwise in place of the model's own.
        method: "synchronous": all states from the values before. "gauss_seidel": in place, in the order of the states, exactly.
            "prioritized": the states with the greatest errors first, together.
    """

    def __init__(self, model: Any, discount: float | None = None, method: Order = "synchronous") -> None:
        self.mdp = as_mdp(model, discount)
        self.method = _check_method(method, get_args(Order))

    def solve(
        self, tolerance: float = 1e-6, max_iterations: int | None = None, initial: ArrayLike | None = None, ties: Ties = "first"
    ) -> Solution:
        """Iterate until the values are proven to be within `tolerance` of the best; with discount 1, until no value changes as much.

        Args:
            tolerance: in units of the reward. What is below rounding is not waited for: see `Solution.error_bound`.
            max_iterations: stop after so many sweeps in any case.
            initial: values (S,) to begin with; by default 0.
            ties: see `greedy`.

        Raises:
            SettingError: no end in sight, or (discount 1) rewards that can be collected for ever.
        """
        mdp = self.mdp
        before, action_values, iterations, backups, bound = iterate(mdp, self.method, tolerance, max_iterations, initial)
        after = greatest(action_values)
        policy = greedy(mdp, action_values, ties)
        if mdp.discount < 1:
            shift, proven = bounds.discounted(mdp, before, after)
            if shift:
                action_values = action_values + shift
                after = after + shift
        else:
            shift, proven = 0.0, bounds.undiscounted(mdp, before, action_values)
        residual = float(np.abs(after - shift - before).max())
        return Solution(after, action_values, policy, iterations, backups, residual, min(proven, bound))


class PolicyEvaluation:
    """V(s) ← Σ π(a | s) (r(s, a) + γ Σ p(s′ | s, a) V(s′)), until it does not change (Sutton & Barto, 4.1).

    Args:
        model: a TabularMDP, or an environment that has `P`.
        policy: (S,) actions, or (S, A) probabilities.
        discount: γ; needed with an environment, otherwise in place of the model's own.
        method: an order of sweeps as in `ValueIteration`, or "exact": (I − γ P) V = r as linear equations.

    Raises:
        SettingError: not a policy; with discount 1, a policy that never ends.
    """

    def __init__(
        self, model: Any, policy: ArrayLike, discount: float | None = None, method: Order | Literal["exact"] = "synchronous"
    ) -> None:
        self.mdp = as_mdp(model, discount)
        self.policy = check_policy(self.mdp, policy)
        self.method = _check_method(method, (*get_args(Order), "exact"))
        self.chain = self.mdp.under(self.policy)
        if self.mdp.discount == 1:
            endless = np.flatnonzero(~np.isfinite(reachability.steps_to_end(self.chain)))
            if len(endless):
                raise SettingError(
                    f"discount 1, but this policy never ends from state {endless[0]}; use a discount below 1, or another policy"
                )

    def solve(self, tolerance: float = 1e-6, max_iterations: int | None = None, initial: ArrayLike | None = None) -> Solution:
        """The value of the policy, and of each action before it; arguments as in `ValueIteration.solve`."""
        if self.method == "exact":
            solution = self._solve_exactly()
        else:  # the best that can be done where nothing is left to choose
            solution = ValueIteration(self.chain, method=self.method).solve(tolerance, max_iterations, initial)
        return replace(solution, action_values=self.mdp.backup(solution.values), policy=self.policy)

    def _solve_exactly(self) -> Solution:
        chain = self.chain
        equations = sp.eye_array(chain.num_states, format="csc") - chain.discount * chain.transitions.tocsc()
        values = spsolve(equations, chain.rewards[:, 0])
        return ValueIteration(chain).solve(tolerance=np.inf, max_iterations=1, initial=values)


class PolicyIteration:
    """Evaluate the policy, make it greedy, until it does not change (Sutton & Barto, 4.3).

    Args:
        model: a TabularMDP, or an environment that has `P`.
        discount: γ; needed with an environment, otherwise in place of the model's own.
        evaluation: method of `PolicyEvaluation`. "exact" needs memory where every state can come to be anywhere soon, as in large random
            models; then take "synchronous", or `ModifiedPolicyIteration`.
    """

    def __init__(self, model: Any, discount: float | None = None, evaluation: Order | Literal["exact"] = "exact") -> None:
        self.mdp = as_mdp(model, discount)
        self.evaluation = _check_method(evaluation, (*get_args(Order), "exact"))

    def solve(
        self,
        tolerance: float = 1e-6,
        max_iterations: int | None = None,
        initial_policy: ArrayLike | None = None,
        ties: Ties = "first",
    ) -> Solution:
        """Improve until nothing is to be improved.

        Args:
            tolerance: of evaluations that are not exact.
            max_iterations: stop after so many improvements in any case.
            initial_policy: (S,) actions or (S, A) probabilities; by default every action is equally likely.
            ties: see `greedy`.

        Returns:
            The solution; its `iterations` are the improvements that changed the policy.
        """
        mdp = self.mdp
        policy = mdp.random_policy() if initial_policy is None else check_policy(mdp, initial_policy)
        backups, iterations = 0, 0
        while True:
            evaluated = PolicyEvaluation(mdp, policy, method=self.evaluation).solve(tolerance)
            backups += evaluated.backups + mdp.num_states
            good = best_actions(evaluated.action_values)
            kept = ((policy > 0) <= good).all(1) & ((policy > 0).sum(1) == 1)  # no change without gain, or it might go on for ever
            improved = np.where(kept[:, None], policy, greedy(mdp, evaluated.action_values))
            if (improved == policy).all() or iterations == max_iterations:
                break
            policy, iterations = improved, iterations + 1
        found = ValueIteration(mdp).solve(np.inf, max_iterations=1, initial=evaluated.values, ties=ties)
        return replace(found, iterations=iterations, backups=backups)


def iterate(
    mdp: TabularMDP, method: Order, tolerance: float, max_iterations: int | None, initial: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], int, int, float]:
    """Sweep until values are within the tolerance.

    Returns:
        Values (S,); action values (S, A) that are their backup; sweeps; backups; a proven error bound (nan: none) of the greatest of
        the action values.
    """
    check_limits(tolerance, max_iterations)
    values = initial_values(mdp, initial)
    horizon = mdp.discount / (1 - mdp.discount) if mdp.discount < 1 else np.nan
    sweeps: GaussSeidel | Prioritized | None = None
    if method != "synchronous":
        sweeps = GaussSeidel(mdp) if method == "gauss_seidel" else Prioritized(mdp)
    backups = 0
    for iteration in range(1, LIMIT + 1):
        if sweeps is None:
            action_values = mdp.backup(values)
            after = greatest(action_values)
            change = float(np.abs(after - values).max(initial=0.0))
            bound = bounds.discounted(mdp, values, after)[1] if mdp.discount < 1 else np.nan
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
        raise SettingError(
            f"no end in sight after {LIMIT} sweeps: the last changed a value by {change:.3g}, the tolerance is {tolerance:g}"
        )
    if sweeps is not None:
        action_values = mdp.backup(values)
    return values, action_values, iteration, backups, bound


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


def as_mdp(model: Any, discount: float | None) -> TabularMDP:
    """The model of a planner: a TabularMDP, or an environment's with a discount."""
    if isinstance(model, TabularMDP):
        return model if discount is None else model.with_discount(discount)
    if discount is None:
        raise SettingError("a planner needs the discount of an environment, as in ValueIteration(env, discount=0.99)")
    return TabularMDP.from_gymnasium(model, discount)


def initial_values(mdp: TabularMDP, initial: ArrayLike | None) -> NDArray[np.float64]:
    """Values (S,) to begin with, 0 in terminal states."""
    values = np.zeros(mdp.num_states) if initial is None else np.array(initial, dtype=np.float64)
    if values.shape != (mdp.num_states,) or not np.isfinite(values).all():
        raise SettingError(f"expected {mdp.num_states} finite initial values, found an array of shape {values.shape}")
    values[mdp.terminal] = 0.0
    return values


def check_limits(tolerance: float, max_iterations: int | None) -> None:
    """Raise unless these can end something."""
    if not tolerance >= 0:
        raise SettingError(f"tolerance must be at least 0, found {tolerance}")
    if max_iterations is not None and max_iterations < 1:
        raise SettingError(f"max_iterations must be at least 1, found {max_iterations}")


def _check_method(method: str, known: tuple[str, ...]) -> Any:
    if method not in known:
        raise SettingError(f"method must be one of {', '.join(known)}, found '{method}'")
    return method
