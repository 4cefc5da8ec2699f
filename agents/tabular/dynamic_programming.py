"""Dynamic programming: policy evaluation, policy iteration, value iteration (Sutton & Barto, chapter 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.sparse.linalg import spsolve

from mprl.agents.tabular import reachability
from mprl.agents.tabular.checks import check_policy
from mprl.agents.tabular.iteration import as_mdp, check_limits, conclude, iterate
from mprl.agents.tabular.policies import Ties, best_actions, greedy
from mprl.agents.tabular.solution import Solution
from mprl.agents.tabular.sweeps import Order
from mprl.errors import SettingError


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
            max_iterations: stop after so many sweeps in any case. (Where no episode ends, the middle of the bounds is then added.)
            initial: values (S,) to begin with; by default 0.
            ties: see `greedy`.

        Raises:
            SettingError: no end in sight, or (discount 1) rewards that can be collected for ever.
        """
        before, action_values, iterations, backups, bound = iterate(self.mdp, self.method, tolerance, max_iterations, initial)
        return conclude(self.mdp, before, action_values, iterations, backups, ties, bound)


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
        check_limits(tolerance, max_iterations)
        policy = mdp.random_policy() if initial_policy is None else check_policy(mdp, initial_policy)
        backups, iterations = 0, 0
        while True:
            evaluated = PolicyEvaluation(mdp, policy, method=self.evaluation).solve(tolerance)
            backups += evaluated.backups + mdp.num_states
            doubt = 0.0 if self.evaluation == "exact" else 2 * np.fmax(tolerance, evaluated.error_bound)
            good = best_actions(evaluated.action_values, doubt)
            kept = ((policy > 0) <= good).all(1) & ((policy > 0).sum(1) == 1)  # no change without gain, or it might go on for ever
            improved = np.where(kept[:, None], policy, greedy(mdp, evaluated.action_values))
            if (improved == policy).all() or iterations == max_iterations:
                break
            policy, iterations = improved, iterations + 1
        found = ValueIteration(mdp).solve(np.inf, max_iterations=1, initial=evaluated.values, ties=ties)
        return replace(found, iterations=iterations, backups=backups)


def _check_method(method: str, known: tuple[str, ...]) -> Any:
    if method not in known:
        raise SettingError(f"method must be one of {', '.join(known)}, found '{method}'")
    return method
