"""How a tabular agent chooses: ε-greedy over action values with ties broken at random, or by a policy's probabilities."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_BELOW_ONE = 1 - 2.0**-50  # keeps the product of u < 1 and n below n, however it is rounded


class Ranking(NamedTuple):
    """Which actions are best in each of R states.

    Attributes:
        best: the greatest action value, (R,).
        ties: how many actions have it, (R,) float.
        order: the actions from the best to the worst, (R, A).
        values: of the actions, (R, A), -inf for those that may not be chosen.
        choices: how many may be, a number, or (R,).
    """

    best: Array
    ties: Array
    order: Array
    values: Array
    choices: Any


@functools.lru_cache(maxsize=64)
def _starts(rows: int, actions: int) -> Array:
    """Where each row of a table begins."""
    return np.arange(0, rows * actions, actions)


@functools.lru_cache(maxsize=64)
def _ones(number: int) -> Array:
    return np.ones(number)


def choices(action_values: Array) -> Any:
    """How many actions may be chosen in each row of (R, A): those that are not worth -inf. One number, where all may be in all rows."""
    possible = np.isfinite(action_values)
    return action_values.shape[1] if possible.all() else possible.sum(axis=1)


def at(choices: Any, row: Array) -> Any:
    """Of some rows."""
    return choices if isinstance(choices, int) else choices.take(row)


def greatest(action_values: Array) -> Array:
    """The greatest value of each row of (R, A); several times as fast as a maximum over short rows."""
    return action_values.ravel().take(action_values.argmax(axis=1) + _starts(*action_values.shape))


def rank(action_values: Array, choices: Any) -> Ranking:
    """Rank the actions of each row, (R, A)."""
    order = (-action_values).argsort(axis=1, kind="stable")
    best = action_values.ravel().take(order[:, 0] + _starts(*action_values.shape))
    ties = (action_values == best[:, None]).astype(np.float64) @ _ones(action_values.shape[1])  # far faster than a sum over short rows
    return Ranking(best, ties, order, action_values, choices)


def epsilon_greedy(ranking: Ranking, row: Array, epsilon: float, uniform: Array) -> Array:
    """An action for each of W worlds: any one with probability ε, else one of the best (Sutton & Barto, 5.4 and 6.4).

    Args:
        ranking: of R states.
        row: which of them each world is in, (W,).
        epsilon: probability of exploring.
        uniform: a random number in [0, 1) for each world, (W,); all that is chosen is chosen by it.
    """
    actions = ranking.order.shape[1]
    place = (uniform - epsilon) * (ranking.ties * (_BELOW_ONE / max(1 - epsilon, 1e-300))).take(row)  # among the best
    if epsilon > 0:
        np.copyto(place, uniform * (at(ranking.choices, row) * (_BELOW_ONE / epsilon)), where=uniform < epsilon)  # among all
    index = place.astype(np.int64)
    index += row * actions
    return ranking.order.ravel().take(index)


def expected_value(ranking: Ranking, epsilon: float) -> Array:
    """What ε-greedy actions are worth, (R,): (1 - ε) max Q + ε mean Q."""
    values, actions = ranking.values, ranking.values.shape[1]
    if isinstance(ranking.choices, int):
        mean = values @ np.full(actions, 1 / actions)
    else:
        mean = np.where(np.isfinite(values), values, 0.0).sum(axis=1) / ranking.choices
    return (1 - epsilon) * ranking.best + epsilon * mean


class Policy:
    """Actions drawn by their probabilities.

    Args:
        probability: of each action in each state, (S, A).
    """

    def __init__(self, probability: Array) -> None:
        self.actions = probability.shape[1]
        self.is_uniform = bool((probability == 1 / self.actions).all())
        bounds = np.cumsum(probability, axis=1)
        bounds[bounds >= bounds[:, -1:]] = 1.0  # an action after the last possible one is never drawn, whatever was rounded
        self._bounds = np.ascontiguousarray(bounds[:, :-1].T)

    def draw(self, state: Array, uniform: Array) -> Array:
        """An action for each world, from its state (W,) and a random number in [0, 1), (W,)."""
        if self.is_uniform:
            return (uniform * (self.actions * _BELOW_ONE)).astype(np.int64)
        return (uniform >= self._bounds.take(state, axis=1)).sum(axis=0)
