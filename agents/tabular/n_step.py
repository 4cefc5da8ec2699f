"""Methods between one step and the whole episode: n-step TD and n-step SARSA (Sutton & Barto, chapter 7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular.controller import Controller, ControlSettings
from mprl.agents.tabular.learner import Moved, TabularSettings
from mprl.agents.tabular.predictor import Predictor
from mprl.errors import SettingError

Array = NDArray[Any]


@dataclass(frozen=True)
class NStepTDSettings(TabularSettings):
    """Settings of n-step TD."""

    n: int = 4
    """Rewards in a return before it is bootstrapped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.n)


@dataclass(frozen=True)
class NStepSarsaSettings(ControlSettings):
    """Settings of n-step SARSA."""

    n: int = 4
    """Rewards in a return before it is bootstrapped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.n)


def n_step_return(rewards: Array, last_value: Array, discount: float) -> Array:
    """R₁ + γ R₂ + ... + γⁿ⁻¹ Rₙ + γⁿ V(Sₙ), for rewards (n, W) in time and values (W,) (Sutton & Barto, 7.1 and 7.4)."""
    n = len(rewards)
    return discount ** np.arange(n) @ rewards + discount**n * last_value


class Window:
    """The last n steps of every world's open episode, and the updates that each further step makes possible.

    Args:
        memory: its arrays, of `memory(n, worlds)`.
        discount: γ.
        in_order: update after update in the order of their steps, where a world has several; else all at once.
    """

    def __init__(self, memory: dict[str, Array], discount: float, in_order: bool) -> None:
        self.entry, self.reward, self.count, self._clock = (memory[name] for name in ("entry", "reward", "count", "clock"))
        self.n, self.discount, self.in_order = len(self.entry), discount, in_order

    @staticmethod
    def memory(n: int, worlds: int) -> dict[str, Array]:
        """Arrays for no steps yet: table entries and rewards by time modulo n, steps of the open episodes, the time."""
        return {
            "entry": np.zeros((n, worlds), np.int64),
            "reward": np.zeros((n, worlds)),
            "count": np.zeros(worlds, np.int64),
            "clock": np.zeros(1, np.int64),
        }

    def push(self, moved: Moved, entry: Array, next_value: Array) -> Iterator[tuple[Array, Array]]:
        """Add a step; gives (entries, targets) to be applied one after the other.

        Args:
            moved: the step of n worlds.
            entry: of the table, that each of them left, (n,).
            next_value: to bootstrap from, (n,).
        """
        slot = int(self._clock[0]) % self.n
        self._clock += 1
        self.entry[slot, moved.world], self.reward[slot, moved.world] = entry, moved.reward
        self.count[moved.world] += 1
        oldest = (slot + 1) % self.n
        mature = self.count[moved.world] >= self.n
        mature[moved.ended] = False
        order = np.arange(oldest, oldest + self.n) % self.n
        if mature.all():
            yield self.entry[oldest, moved.world], n_step_return(self.reward[order][:, moved.world], next_value, self.discount)
        elif mature.any():
            which = np.flatnonzero(mature)
            world = moved.ids[which]
            yield self.entry[oldest, world], n_step_return(self.reward[order[:, None], world], next_value[which], self.discount)
        if len(moved.ended):
            yield from self._to_the_end(moved, next_value, order)

    def _to_the_end(self, moved: Moved, next_value: Array, order: Array) -> Iterator[tuple[Array, Array]]:
        """The steps whose return is complete because the episode is over; one that was cut off is bootstrapped."""
        world = moved.ids[moved.ended]
        length = np.minimum(self.count[world], self.n)
        self.count[world] = 0
        order = order[self.n - int(length.max()) :]
        target = np.empty((len(order), len(world)))
        following = next_value[moved.ended] * ~moved.terminated[moved.ended]
        for k in reversed(range(len(order))):
            following = target[k] = self.reward[order[k], world] + self.discount * following
        within = np.arange(len(order))[:, None] >= len(order) - length
        entry = self.entry[order[:, None], world]
        if not self.in_order:
            yield entry[within], target[within]
            return
        for k in range(len(order)):
            yield entry[k, within[k]], target[k, within[k]]


class NStepTD(Predictor):
    """n-step TD: what a policy is worth (Sutton & Barto, 7.1). See `NStepTDSettings`."""

    name = "n-step-td"
    Settings = NStepTDSettings

    def _memory(self) -> dict[str, Array]:
        return Window.memory(self.settings.n, self.batch.num_worlds)

    def _begin_iteration(self) -> None:
        super()._begin_iteration()
        self._window = Window(self.memory, self.settings.gamma, self._updates.distinct)

    def _update(self, moved: Moved) -> None:
        for entry, target in self._window.push(moved, moved.row, self._values.take(moved.next_row)):
            self._updates(self._values, entry, target, self._visits)


class NStepSarsa(Controller):
    """n-step SARSA: on-policy control (Sutton & Barto, 7.2). See `NStepSarsaSettings`."""

    name = "n-step-sarsa"
    Settings = NStepSarsaSettings

    def _memory(self) -> dict[str, Array]:
        return Window.memory(self.settings.n, self.batch.num_worlds)

    def _begin_iteration(self) -> None:
        super()._begin_iteration()
        self._window = Window(self.memory, self.settings.gamma, self._updates.distinct)

    def _learn(self, moved: Moved, row: Array) -> Array:
        following, next_action = self._next_actions(moved, row)
        next_value = self._values.take(moved.next_row * self.num_actions + next_action)
        for entry, target in self._window.push(moved, moved.row * self.num_actions + moved.action, next_value):
            self._move(entry, target)
        return following


def _check(n: int) -> None:
    if n < 1:
        raise SettingError(f"n must be at least 1, found {n}")
