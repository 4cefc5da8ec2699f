"""What a planner finds, and how it is played."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mprl.errors import SettingError


@dataclass(frozen=True, eq=False)
class Solution:
    """Values, and a policy that plays.

    Attributes:
        values: V (S,).
        action_values: Q (S, A), −inf for actions that are not available.
        policy: (S, A), probability of each action.
        iterations: sweeps over the states (value iteration, policy evaluation), or improvements of the policy (policy iteration).
        backups: how many states' values were computed, over all iterations.
        residual: greatest difference between a state's value before and after the last backup.
        error_bound: no value is further than this from the exact one: proven, rounding included. nan where nothing is proven, which
            can be with discount 1. A policy that was found by planning is worth at most twice as much less than the best (discount < 1).
    """

    values: NDArray[np.float64]
    action_values: NDArray[np.float64]
    policy: NDArray[np.float64]
    iterations: int
    backups: int
    residual: float
    error_bound: float
    _generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0), repr=False)

    def predict(self, observation: ArrayLike, state: Any = None, episode_start: Any = None, deterministic: bool = False) -> tuple[Any, Any]:
        """Actions for a state or an array of them, as Stable-Baselines3's agents give them: (actions, None).

        Args:
            observation: states, integers.
            deterministic: the likeliest action rather than a random one; the same where the policy knows one only.
        """
        states = np.asarray(observation)
        if not np.issubdtype(states.dtype, np.integer) or (states < 0).any() or (states >= len(self.values)).any():
            raise SettingError(f"expected states 0…{len(self.values) - 1}, found {observation!r}")
        rows = self.policy[states]
        if deterministic:
            return rows.argmax(-1), state
        below = rows.cumsum(-1) <= self._generator.random((*states.shape, 1)) * rows.sum(-1, keepdims=True)
        return below.sum(-1), state
