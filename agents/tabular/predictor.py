"""What learners of a given policy's worth share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular.behaviour import Policy
from mprl.agents.tabular.checks import probabilities
from mprl.agents.tabular.learner import Moved, TabularLearner

Array = NDArray[Any]


class Predictor(TabularLearner):
    """A learner of what a given policy is worth in each state.

    Args:
        policy: probability of each action in each state, (S, A), or the actions, (S,); by default all actions are as likely.
    """

    _given: Any = None

    def __init__(self, env: Any, seed: int = 0, device: Any = None, policy: Any = None, **settings: Any) -> None:
        self._given = policy
        super().__init__(env, seed, device, **settings)

    def _arrays(self) -> dict[str, Array]:
        shape = (self.num_states, self.num_actions)
        policy = np.full(shape, 1 / self.num_actions) if self._given is None else probabilities(self._given, shape)
        return {
            "values": np.full((1, self.num_states), self.settings.initial_value),
            "counts": self._counts(self.num_states),
            "policy": policy,
        }

    @property
    def values(self) -> Array:
        """What the states are worth, (S,); with independent tables (W, S)."""
        values = self.table["values"]
        return values[0] if self.settings.tables == "shared" else values

    @property
    def policy(self) -> Array:
        """The policy that is evaluated, (S, A)."""
        return self.table["policy"]

    def _begin_iteration(self) -> None:
        super()._begin_iteration()
        self._drawer = Policy(self.policy)
        self._values, self._visits = self.table["values"].ravel(), self.table["counts"].ravel()

    def _behave(self, row: Array) -> Array:
        return self._drawer.draw(row if self.num_tables == 1 else row % self.num_states, self._uniform(len(row)))

    def _learn(self, moved: Moved, row: Array) -> Array:
        self._update(moved)
        return self._behave(row)

    @abstractmethod
    def _update(self, moved: Moved) -> None:
        """Learn from a step."""

    def _probabilities(self, state: Array, deterministic: bool) -> Array:
        return self.policy[state]
