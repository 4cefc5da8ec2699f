"""Learning from real steps and from remembered ones: Dyna-Q and prioritised sweeping (Sutton & Barto, chapter 8).

The model is what was last seen to follow each state and action: exact where the environment is deterministic, and where it is not, with
`outcomes` of 10 or more, about as good as the frequencies of so many.
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
class ModelSettings(ControlSettings):
    """Settings of learners with a model."""

    planning_steps: int = 5
    """Updates from the model for each real step."""
    outcomes: int = 1
    """How many of the last outcomes of each state and action the model has; 1 is enough where the environment is deterministic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_0("planning_steps", self.planning_steps)
        if self.outcomes < 1:
            raise SettingError(f"outcomes must be at least 1, found {self.outcomes}")


@dataclass(frozen=True)
class DynaQSettings(ModelSettings):
    """Settings of Dyna-Q."""

    bonus: float = 0.0
    """κ of Dyna-Q+: what was not tried for τ steps is imagined to give κ √τ more; 0: Dyna-Q."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_0("bonus", self.bonus)


@dataclass(frozen=True)
class PrioritizedSweepingSettings(ModelSettings):
    """Settings of prioritised sweeping."""

    learning_rate: float | str | None = 0.5
    """Step size α in (0, 1]; 1 where the environment is deterministic; "linear 0.5 0.01 100000"; None: sample averages."""
    threshold: float = 1e-4
    """Changes smaller than this are not worth an update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_0("threshold", self.threshold)


class ModelLearner(Controller):
    """A learner that remembers what followed each state and action it has seen.

    Attributes:
        updates: how many action values were updated so far, in each table.
    """

    def _arrays(self) -> dict[str, Array]:
        shape = (1, self.num_states, self.num_actions)
        model = {
            "next_row": np.zeros((*shape, self.settings.outcomes), np.int64),  # of the table
            "reward": np.zeros((*shape, self.settings.outcomes)),
            "terminated": np.zeros((*shape, self.settings.outcomes), bool),
            "times": np.zeros(shape, np.int64),  # seen, or imagined
            "updates": np.zeros(1, np.int64),
        }
        return super()._arrays() | model

    def _begin_iteration(self) -> None:
        super()._begin_iteration()
        self._next_row, self._reward, self._terminated, self._times = (
            self.table[name].reshape(-1) for name in ("next_row", "reward", "terminated", "times")
        )
        self.updates = self.table["updates"]

    def _metrics(self) -> dict[str, float]:
        return super()._metrics() | {"updates": float(self.updates.mean())}

    def _remember(self, entry: Array, moved: Moved) -> Array:
        """Take a step into the model; gives the entries that are new to it."""
        times, outcomes = self._times.take(entry), self.settings.outcomes
        place = entry * outcomes + times % outcomes
        self._next_row[place], self._reward[place], self._terminated[place] = moved.next_row, moved.reward, moved.terminated
        self._times[entry] = times + 1
        return np.unique(entry[times == 0])

    def _imagined(self, place: Array) -> Array:
        """What actions are worth by some outcomes of the model."""
        next_value = self._best(self._next_row.take(place))
        return td_target(self._reward.take(place), next_value, self._terminated.take(place), self.settings.gamma)


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
        if self.settings.bonus:  # what was not tried is imagined too, as leading back for nothing
            entries = (first[:, None] * self.num_actions + np.arange(self.num_actions))[np.isfinite(self._q.take(first, axis=0))]
            untried = entries[self._times.take(entries) == 0]
            self._next_row[untried * self.settings.outcomes] = untried // self.num_actions
            self._times[untried] = 1
        known = self._times.reshape(-1, self.num_actions)[rows] > 0
        self.table["tried"].reshape(-1, self.num_actions)[rows] = np.argsort(~known, axis=1, kind="stable")
        num_tried[rows] = known.sum(axis=1)

    def _plan(self, table: Array) -> None:
        """Updates from the model: so many rounds of one for each world."""
        outcomes = self.settings.outcomes
        uniform = self.random.random((2 + (outcomes > 1), self.settings.planning_steps, len(table)))
        row = self.table["seen"][table, (uniform[0] * self.table["num_seen"].take(table)).astype(np.int64)]
        choice = (uniform[1] * self.table["num_tried"].reshape(-1).take(row)).astype(np.int64)
        entry = row * self.num_actions + self.table["tried"].reshape(-1).take(row * self.num_actions + choice)
        place = entry
        if outcomes > 1:
            place = entry * outcomes + (uniform[2] * np.minimum(self._times.take(entry), outcomes)).astype(np.int64)
        reward, next_row, terminated = self._reward.take(place), self._next_row.take(place), self._terminated.take(place)
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
        goes_on = ~self._terminated
        goes_on.reshape(-1, self.settings.outcomes)[self._times == 0] = False
        for _ in range(self.settings.planning_steps):
            first = self._first(len(moved.row))
            if not len(first):
                break
            self.table["priority"].reshape(-1)[first] = 0.0
            self._move(first, self._expected(first))
            np.add.at(self.updates, first // (self.num_states * self.num_actions), 1)
            changed = np.zeros(len(self._q), bool)
            changed[first // self.num_actions] = True
            leads_there = np.flatnonzero(changed.take(self._next_row) & goes_on)
            self._prioritize(np.unique(leads_there // self.settings.outcomes) if self.settings.outcomes > 1 else leads_there)

    def _expected(self, entry: Array) -> Array:
        """What the model says that actions are worth, the mean over the outcomes that it has."""
        outcomes = self.settings.outcomes
        if outcomes == 1:
            return self._imagined(entry)
        there = np.arange(outcomes) < self._times.take(entry)[:, None]
        found = self._imagined((entry[:, None] * outcomes + np.arange(outcomes))[there])
        which = there.nonzero()[0]
        return np.bincount(which, found, minlength=len(entry)) / there.sum(axis=1)

    def _prioritize(self, entry: Array) -> None:
        """Put entries into the queue by how much an update would change them, if that is enough and more than they have."""
        priority = self.table["priority"].reshape(-1)
        change = np.abs(self._expected(entry) - self._values.take(entry))
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
