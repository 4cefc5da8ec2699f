"""Finite Markov decision processes: planning on a known model, and learning from experience.

from mprl.agents.tabular import TabularMDP, ValueIteration

    mdp = TabularMDP.from_gymnasium(gym.make("FrozenLake-v1"), discount=1.0)
    solution = ValueIteration(mdp).solve()
    solution.values, solution.action_values, solution.policy, solution.error_bound
    action, _ = solution.predict(observation)
"""

from __future__ import annotations

from mprl.agents.tabular.dynamic_programming import PolicyEvaluation, PolicyIteration, ValueIteration
from mprl.agents.tabular.mdp import TabularMDP
from mprl.agents.tabular.modified_policy_iteration import ModifiedPolicyIteration
from mprl.agents.tabular.solution import Solution

__all__ = ["TabularMDP", "Solution", "PolicyEvaluation", "PolicyIteration", "ValueIteration", "ModifiedPolicyIteration"]
