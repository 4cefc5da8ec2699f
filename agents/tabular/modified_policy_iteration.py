"""Modified policy iteration: improve the policy, evaluate it a little, improve it again (Puterman, 6.5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mprl.agents.tabular import bounds
from mprl.agents.tabular.dynamic_programming import as_mdp, check_finite, check_limits
from mprl.agents.tabular.policies import Ties, greedy
from mprl.agents.tabular.solution import Solution
from mprl.errors import SettingError


class ModifiedPolicyIteration:
    """The planner for large models: most of its sweeps are over one action a state, and none is waited for to converge.

    Args:
        model: a TabularMDP, or an environment that has `P`.
        discount: γ; needed with an environment, otherwise in place of the model's own.
        sweeps: of evaluation between two improvements, at most.
    """

    def __init__(self, model: Any, discount: float | None = None, sweeps: int = 20) -> None:
        self.mdp = as_mdp(model, discount)
        if sweeps < 1:
            raise SettingError(f"sweeps must be at least 1, found {sweeps}")
        self.sweeps = sweeps

    def solve(self, tolerance: float = 1e-6, max_iterations: int | None = None, ties: Ties = "first") -> Solution:
        """Iterate until the values are proven to be within `tolerance` of the best; with discount 1, until no value changes as much.

        Args:
            tolerance: in units of the reward. What is below rounding is not waited for: see `Solution.error_bound`.
            max_iterations: stop after so many improvements in any case.
            ties: see `greedy`.
        """
        mdp = self.mdp
        check_limits(tolerance, max_iterations)
        values = np.zeros(mdp.num_states)
        iterations, backups = 0, 0
        while True:
            action_values = mdp.backup(values)
            after = action_values.max(1)
            iterations, backups = iterations + 1, backups + mdp.num_states
            change = float(np.abs(after - values).max(initial=0.0))
            shift, bound = bounds.discounted(mdp, values, after) if mdp.discount < 1 else (0.0, np.nan)
            near = change < tolerance if mdp.discount == 1 else bound <= tolerance
            if near or change <= bounds.rounding(mdp, values) or iterations == max_iterations:
                break
            if mdp.discount == 1 and iterations >= 64 and iterations.bit_count() == 1:
                check_finite(mdp, values, 16 * iterations)
            chain = mdp.under(greedy(mdp, action_values))
            values = after
            for _ in range(self.sweeps):
                new = chain.backup(values)[:, 0]
                step = new - values
                values, backups = new, backups + mdp.num_states
                if step.max() - step.min() < 0.1 * change:
                    break
        policy = greedy(mdp, action_values, ties)
        if mdp.discount == 1:
            bound = bounds.undiscounted(mdp, values, action_values)
        return Solution(after + shift, action_values + shift, policy, iterations, backups, change, bound)
