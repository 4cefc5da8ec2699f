"""What learners share that improve how they act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular.behaviour import Ranking, at, choices, epsilon_greedy, greatest, rank
from mprl.agents.tabular.learner import Moved, TabularLearner, TabularSettings, check_schedule
from mprl.errors import SettingError
from mprl.nn import schedules
from mprl.nn.schedules import Scheduled

Array = NDArray[Any]


@dataclass(frozen=True)
class ControlSettings(TabularSettings):
    """Settings of learners that improve how they act."""

    epsilon: Scheduled = 0.1
    """Probability of a random action; "linear 1 0.05 10000" changes it over so many environment steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_schedule("epsilon", self.epsilon)


class Controller(TabularLearner):
    """A learner of what actions are worth, which acts ε-greedily by what it knows.

    Args:
        available: which actions may be chosen in each state, (S, A) bool; by default all, or what the environment has under this name.
            Others are worth -inf.
    """

    Settings = ControlSettings
    _available: Array | None = None

    def __init__(self, env: Any, seed: int = 0, device: Any = None, available: Any = None, **settings: Any) -> None:
        if available is None and not isinstance(env, str):
            available = getattr(getattr(env, "unwrapped", env), "available", None)
        self._available = None if available is None else np.array(available, bool)
        super().__init__(env, seed, device, **settings)

    def _arrays(self) -> dict[str, Array]:
        shape = (self.num_states, self.num_actions)
        return {"action_values": self._initial(), "counts": self._counts(*shape)}

    def _initial(self) -> Array:
        """What actions are worth at first, (1, S, A)."""
        shape = (self.num_states, self.num_actions)
        if self._available is None:
            return np.full((1, *shape), self.settings.initial_value)
        if self._available.shape != shape or not self._available.any(axis=1).all():
            raise SettingError(f"available must be {shape[0]} states x {shape[1]} actions with one in each, found {self._available.shape}")
        return np.where(self._available, self.settings.initial_value, -np.inf)[None]

    @property
    def action_values(self) -> Array:
        """What the actions are worth in each state, (S, A); with independent tables (W, S, A)."""
        values = self.table["action_values"]
        return values[0] if self.settings.tables == "shared" else values

    @property
    def values(self) -> Array:
        """What the best actions are worth in each state, (S,); with independent tables (W, S)."""
        return self.action_values.max(axis=-1)

    @property
    def policy(self) -> Array:
        """The greedy policy, the lowest of equal actions, as probabilities (S, A); of the mean of independent tables."""
        return self._probabilities(np.arange(self.num_states), deterministic=True)

    def _begin_iteration(self) -> None:
        super()._begin_iteration()
        self._epsilon = schedules.value(self.settings.epsilon, self.num_timesteps)
        self._q = self.table["action_values"].reshape(-1, self.num_actions)
        self._values, self._visits = self._q.ravel(), self.table["counts"].ravel()
        self._choices = choices(self._q)
        self._ranking: Ranking | None = None

    def _metrics(self) -> dict[str, float]:
        return super()._metrics() | {"epsilon": self._epsilon}

    def _ranked(self, row: Array) -> tuple[Ranking, Array]:
        """A ranking of actions, and where in it each row (n,) of the table is.

        A shared table with fewer rows than worlds is ranked whole, once after every change.
        """
        if len(self._q) > len(row):
            return rank(self._q.take(row, axis=0), at(self._choices, row)), np.arange(len(row))
        if self._ranking is None:
            self._ranking = rank(self._q, self._choices)
        return self._ranking, row

    def _best(self, row: Array) -> Array:
        """What the best action is worth in each row (n,)."""
        if len(self._q) > len(row):
            return greatest(self._q.take(row, axis=0))
        return self._ranked(row)[0].best.take(row)

    def _behave(self, row: Array) -> Array:
        ranking, where = self._ranked(row)
        return epsilon_greedy(ranking, where, self._epsilon, self._uniform(len(row)))

    def _next_actions(self, moved: Moved, row: Array) -> tuple[Array, Array]:
        """What to do next in each world's row (W,), and the action that follows each step (n,) in the state that it led to."""
        following = self._behave(row)
        next_action = following[moved.world]
        truncated = moved.ended[moved.truncated[moved.ended]]
        if len(truncated):  # what would have been done in the state that the episode was cut off in
            next_action = next_action.copy()
            next_action[truncated] = self._behave(moved.next_row[truncated])
        return following, next_action

    def _move(self, index: Array, target: Array) -> None:
        """Move action values towards targets, (n,) each."""
        self._updates(self._values, index, target, self._visits)
        self._ranking = None

    def _learn(self, moved: Moved, row: Array) -> Array:
        self._update(moved)
        return self._behave(row)

    def _update(self, moved: Moved) -> None:
        """Learn from a step."""
        raise NotImplementedError

    def _probabilities(self, state: Array, deterministic: bool) -> Array:
        q = self._averaged("action_values")[state]
        greedy = np.zeros_like(q)
        greedy[np.arange(len(q)), q.argmax(axis=1)] = 1.0
        if deterministic:
            return greedy
        epsilon = schedules.value(self.settings.epsilon, self.num_timesteps)
        any_one = np.isfinite(q)
        return (1 - epsilon) * greedy + epsilon * any_one / any_one.sum(axis=1, keepdims=True)
