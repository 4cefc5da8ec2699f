"""Learning from real steps and from remembered ones: Dyna-Q and prioritised sweeping (Sutton & Barto, chapter 8).

The model is what was last seen to follow each state and action: exact where the environment is deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular.controller import Controller, ControlSettings
from mprl.agents.tabular.learner import Moved
from mprl.agents.tabular.temporal_difference import QLearning, td_target
from mprl.errors import SettingError

Array = NDArray[Any]


@dataclass(frozen=True)
class DynaQSettings(ControlSettings):
    """Settings of Dyna-Q."""

    planning_steps: int = 5
    """Updates from the model for each real step."""
    bonus: float = 0.0
    """κ of Dyna-Q+: what was not tried for τ steps is imagined to give κ √τ more; 0: Dyna-Q."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_0("planning_steps", self.planning_steps)
        _at_least_0("bonus", self.bonus)


@dataclass(frozen=True)
class PrioritizedSweepingSettings(ControlSettings):
    """Settings of prioritised sweeping."""

    learning_rate: float | str | None = 0.5
    """Step size α in (0, 1]; 1 where the environment is deterministic; "linear 0.5 0.01 100000"; None: sample averages."""
    planning_steps: int = 5
    """Updates for each real step."""
    threshold: float = 1e-4
    """Changes smaller than this are not worth an update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_0("planning_steps", self.planning_steps)
        _at_least_0("threshold", self.threshold)


class ModelLearner(Controller):
    """A learner that remembers what followed each state and action it has seen.

    Attributes:
        updates: how many action values were updated so far, in each table.
    """

    def _arrays(self) -> dict[str, Array]:
        shape = (1, self.num_states, self.num_actions)
        model = {
            "next_row": np.zeros(shape, np.int64),  # of the table
            "reward": np.zeros(shape),
            "terminated": np.zeros(shape, bool),
            "known": np.zeros(shape, bool),
            "updates": np.zeros(1, np.int64),
        }
        return super()._arrays() | model

    def _begin_iteration(self) -> None:
        super()._begin_iteration()
        self._next_row, self._reward, self._terminated, self._known = (
            self.table[name].reshape(-1) for name in ("next_row", "reward", "terminated", "known")
        )
        self.updates = self.table["updates"]

    def _metrics(self) -> dict[str, float]:
        return super()._metrics() | {"updates": float(self.updates.mean())}

    def _remember(self, entry: Array, moved: Moved) -> Array:
        """Take a step into the model; gives the entries that are new to it."""
        new = np.unique(entry[~self._known.take(entry)])
        self._next_row[entry], self._reward[entry], self._terminated[entry] = moved.next_row, moved.reward, moved.terminated
        self._known[new] = True
        return new

    def _imagined_target(self, entry: Array) -> Array:
        """What the model says that an action is worth."""
        return td_target(
            self._reward.take(entry), self._best(self._next_row.take(entry)), self._terminated.take(entry), self.settings.gamma
        )


class DynaQ(ModelLearner, QLearning):
    """Dyna-Q: Q-learning from every real step, and from so many that are remembered (Sutton & Barto, 8.2). See `DynaQSettings`.

    Remembered are a state that was seen and an action that was tried there, both by chance; Dyna-Q+ (8.3) also imagines actions that
    were never tried, as leading back for nothing, and what was long not tried as better than it was.
    """

    name = "dyna-q"
    Settings = DynaQSettings

    def _arrays(self) -> dict[str, Array]:
        states, actions = self.num_states, self.num_actions
        lists = {
            "seen": np.zeros((1, states), np.int64),  # rows, in the order in which they were found
            "num_seen": np.zeros(1, np.int64),
            "tried": np.zeros((1, states, actions), np.int64),  # actions, those that are known first
            "num_tried": np.zeros((1, states), np.int64),
            "tried_at": np.zeros((1, states, actions), np.int64),
            "time": np.zeros(1, np.int64),
        }
        return super()._arrays() | lists

    def _update(self, moved: Moved) -> None:
        super()._update(moved)
        entry = moved.row * self.num_actions + moved.action
        new = self._remember(entry, moved)
        if len(new):
            self._list(new)
        table: Any = moved.ids if self._updates.distinct else np.zeros(len(moved.row), np.int64)
        np.add.at(self.updates, table, 1 + self.settings.planning_steps)
        if self.settings.bonus:
            self.table["time"][moved.world if self._updates.distinct else 0] += 1
            self.table["tried_at"].reshape(-1)[entry] = self.table["time"].take(table)
        if self.settings.planning_steps:
            self._plan(table)

    def _list(self, new: Array) -> None:
        """Take entries that are new into the lists of what was seen and tried."""
        rows = np.unique(new // self.num_actions)
        num_tried, num_seen = self.table["num_tried"].reshape(-1), self.table["num_seen"]
        first = rows[num_tried.take(rows) == 0]
        table = first // self.num_states if self._updates.distinct else np.zeros(len(first), np.int64)
        place = num_seen.take(table) if self._updates.distinct else num_seen[0] + np.arange(len(first))
        self.table["seen"][table, place] = first
        np.add.at(num_seen, table, 1)
        known = self._known.reshape(-1, self.num_actions)
        if self.settings.bonus:  # what was not tried is imagined too
            known[first] = np.isfinite(self._q.take(first, axis=0))
            untried = np.setdiff1d((first[:, None] * self.num_actions + np.arange(self.num_actions))[known[first]], new)
            self._next_row[untried] = untried // self.num_actions
        self.table["tried"].reshape(-1, self.num_actions)[rows] = np.argsort(~known[rows], axis=1, kind="stable")
        num_tried[rows] = known[rows].sum(axis=1)

    def _plan(self, table: Array) -> None:
        """Updates from the model: so many rounds of one for each world."""
        uniform = self.random.random((2, self.settings.planning_steps, len(table)))
        row = self.table["seen"][table, (uniform[0] * self.table["num_seen"].take(table)).astype(np.int64)]
        choice = (uniform[1] * self.table["num_tried"].reshape(-1).take(row)).astype(np.int64)
        entry = row * self.num_actions + self.table["tried"].reshape(-1).take(row * self.num_actions + choice)
        reward, next_row, terminated = self._reward.take(entry), self._next_row.take(entry), self._terminated.take(entry)
        if self.settings.bonus:
            since = self.table["time"].take(table) - self.table["tried_at"].reshape(-1).take(entry)
            reward = reward + self.settings.bonus * np.sqrt(since)
        for k in range(len(entry)):
            self._move(entry[k], td_target(reward[k], self._best(next_row[k]), terminated[k], self.settings.gamma))


class PrioritizedSweeping(ModelLearner):
    """Prioritised sweeping: updates from the model, where they change most first (Sutton & Barto, 8.4). See `PrioritizedSweepingSettings`.

    Where worlds share a table, each round of updates takes as many entries as there are worlds.
    """

    name = "prioritized-sweeping"
    Settings = PrioritizedSweepingSettings

    def _arrays(self) -> dict[str, Array]:
        return super()._arrays() | {"priority": np.zeros((1, self.num_states * self.num_actions))}

    def _update(self, moved: Moved) -> None:
        entry = moved.row * self.num_actions + moved.action
        self._remember(entry, moved)
        self._prioritize(entry)
        for _ in range(self.settings.planning_steps):
            first = self._first(len(moved.row))
            if not len(first):
                break
            self.table["priority"].reshape(-1)[first] = 0.0
            self._move(first, self._imagined_target(first))
            np.add.at(self.updates, first // (self.num_states * self.num_actions), 1)
            changed = np.zeros(len(self._q), bool)
            changed[first // self.num_actions] = True
            self._prioritize(np.flatnonzero(self._known & ~self._terminated & changed.take(self._next_row)))

    def _prioritize(self, entry: Array) -> None:
        """Put entries into the queue by how much an update would change them, if that is enough and more than they have."""
        priority = self.table["priority"].reshape(-1)
        change = np.abs(self._imagined_target(entry) - self._values.take(entry))
        enough = change > self.settings.threshold
        entry = entry[enough]
        priority[entry] = np.maximum(priority.take(entry), change[enough])

    def _first(self, number: int) -> Array:
        """The first entries of each queue: one of each world's own, or so many of the shared one."""
        priority = self.table["priority"]
        if len(priority) == 1 and number > 1:
            waiting = np.flatnonzero(priority[0])
            if len(waiting) > number:
                waiting = waiting[np.argpartition(priority[0].take(waiting), -number)[-number:]]
            return waiting
        first = priority.argmax(axis=1) + np.arange(0, priority.size, priority.shape[1])
        return first[priority.reshape(-1).take(first) > 0]


def _at_least_0(name: str, value: float) -> None:
    if value < 0:
        raise SettingError(f"{name} must be at least 0, found {value}")
