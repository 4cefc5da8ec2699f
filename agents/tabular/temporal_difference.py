"""Temporal-difference learning of one step: TD(0), SARSA, Expected SARSA, Q-learning, Double Q-learning (Sutton & Barto, chapter 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular.behaviour import Ranking, at, epsilon_greedy, expected_value, rank
from mprl.agents.tabular.controller import Controller
from mprl.agents.tabular.learner import Moved
from mprl.agents.tabular.predictor import Predictor

Array = NDArray[Any]


def td_target(reward: Array, next_value: Array, terminated: Array, discount: float) -> Array:
    """R + γ V(S'), and R alone where the episode ended (Sutton & Barto, 6.2). A truncated episode did not end.

    The rules of control differ in what they take for V(S') alone: Q(S', A') of the next action in SARSA (6.7), its mean over ε-greedy
    actions in Expected SARSA (6.9), max Q(S', a) in Q-learning (6.8), Q₂(S', argmax Q₁(S', a)) in Double Q-learning (6.10).
    """
    return reward + discount * next_value * ~terminated


class TD0(Predictor):
    """TD(0): what a policy is worth, from every step (Sutton & Barto, 6.1). See `TabularSettings`."""

    name = "td0"

    def _update(self, moved: Moved) -> None:
        target = td_target(moved.reward, self._values.take(moved.next_row), moved.terminated, self.settings.gamma)
        self._updates(self._values, moved.row, target, self._visits)


class Sarsa(Controller):
    """SARSA: on-policy control; learns what ε-greedy actions are worth (Sutton & Barto, 6.4). See `ControlSettings`."""

    name = "sarsa"

    def _learn(self, moved: Moved, row: Array) -> Array:
        following, next_action = self._next_actions(moved, row)
        next_value = self._values.take(moved.next_row * self.num_actions + next_action)
        target = td_target(moved.reward, next_value, moved.terminated, self.settings.gamma)
        self._move(moved.row * self.num_actions + moved.action, target)
        return following


class ExpectedSarsa(Controller):
    """Expected SARSA: SARSA without the noise of the next action (Sutton & Barto, 6.6). See `ControlSettings`."""

    name = "expected-sarsa"

    def _update(self, moved: Moved) -> None:
        ranking, where = self._ranked(moved.next_row)
        next_value = expected_value(ranking, self._epsilon).take(where)
        target = td_target(moved.reward, next_value, moved.terminated, self.settings.gamma)
        self._move(moved.row * self.num_actions + moved.action, target)


class QLearning(Controller):
    """Q-learning: off-policy control; learns what the best actions are worth (Sutton & Barto, 6.5). See `ControlSettings`."""

    name = "q-learning"

    def _update(self, moved: Moved) -> None:
        target = td_target(moved.reward, self._best(moved.next_row), moved.terminated, self.settings.gamma)
        self._move(moved.row * self.num_actions + moved.action, target)


class DoubleQLearning(Controller):
    """Double Q-learning: one table chooses the best action, the other says its worth (Sutton & Barto, 6.7). See `ControlSettings`.

    What is learned has the axes (tables, 2, S, A). Each step moves one of the two, chosen by a coin.
    """

    name = "double-q-learning"

    def _arrays(self) -> dict[str, Array]:
        both = np.repeat(self._initial()[:, None], 2, axis=1)
        return {"action_values": both, "counts": self._counts(*both.shape[1:])}

    @property
    def action_values(self) -> Array:
        """The mean of both tables, (S, A); with independent tables (W, S, A)."""
        return super().action_values.mean(axis=-3)

    def _averaged(self, name: str) -> Array:
        return super()._averaged(name).mean(axis=0)

    def _first(self, row: Array) -> Array:
        """Rows of the first of two tables; the second's are `num_states` further."""
        return row if self.num_tables == 1 else row + row // self.num_states * self.num_states

    def _ranked(self, row: Array) -> tuple[Ranking, Array]:
        """By the mean of both tables."""
        if len(self._q) > 2 * len(row):
            first = self._first(row)
            mean = 0.5 * (self._q.take(first, axis=0) + self._q.take(first + self.num_states, axis=0))
            return rank(mean, at(self._choices, first)), np.arange(len(row))
        if self._ranking is None:
            mean = self.table["action_values"].mean(axis=1).reshape(-1, self.num_actions)
            self._ranking = rank(mean, at(self._choices, self._first(np.arange(len(mean)))))
        return self._ranking, row

    def _update(self, moved: Moved) -> None:
        uniform = self._uniform(len(moved.row))
        coin = uniform >= 0.5  # tails: the second table learns
        tie_break = 2 * uniform - coin
        shift = coin * self.num_states
        learns = self._first(moved.next_row) + shift
        other = learns + self.num_states - 2 * shift
        if len(self._q) > len(learns):
            best = epsilon_greedy(rank(self._q.take(learns, axis=0), 0), np.arange(len(learns)), 0.0, tie_break)
        else:
            best = epsilon_greedy(rank(self._q, 0), learns, 0.0, tie_break)
        next_value = self._values.take(other * self.num_actions + best)
        target = td_target(moved.reward, next_value, moved.terminated, self.settings.gamma)
        self._move((self._first(moved.row) + shift) * self.num_actions + moved.action, target)
