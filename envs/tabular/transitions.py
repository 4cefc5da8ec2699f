"""A table of transitions as arrays from which many are drawn at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.errors import SettingError

COMPARED = 8  # outcomes up to which comparing with all is faster than a binary search


class Transitions:
    """Transitions of S states and A actions with at most K outcomes each, of which `draw` chooses.

    Attributes:
        num_states, num_actions: S and A.
        next_state, reward, terminated: of each outcome, (S x A x K,); that of state s and action a number k is at
            (s x A + a) x K + k.

    Args:
        P: `P[state][action] = [(probability, next state, reward, terminated), ...]`.

    Raises:
        SettingError: probabilities that are negative or do not sum to one, a state that is none, or states with other actions.
    """

    def __init__(self, P: Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]) -> None:
        self.num_states, self.num_actions = len(P), len(P[0]) if 0 in P else 0
        if not self.num_actions or sorted(P) != list(range(self.num_states)):
            raise SettingError("P must have the states 0, 1, ... and at least one action")
        found = []
        for state in range(self.num_states):
            actions = P[state]
            if sorted(actions) != list(range(self.num_actions)):
                raise SettingError(f"P[{state}]: expected the actions 0 to {self.num_actions - 1}, found {list(actions)}")
            found += [_outcomes(P[state][action], f"P[{state}][{action}]", self.num_states) for action in range(self.num_actions)]
        self.outcomes = max(len(outcomes) for outcomes in found)
        shape = (len(found), self.outcomes)
        next_state, reward, terminated = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, bool)
        beyond = np.full((len(found), 1 << self.outcomes.bit_length()), np.inf)
        for row, outcomes in enumerate(found):
            count = len(outcomes)
            next_state[row, :count], reward[row, :count], terminated[row, :count] = outcomes[:, 1], outcomes[:, 2], outcomes[:, 3]
            # the last outcome is what is beyond the others: rounding cannot lead to none
            beyond[row, : count - 1] = np.cumsum(outcomes[:-1, 0])
        self.next_state, self.reward, self.terminated = next_state.ravel(), reward.ravel(), terminated.ravel()
        compared = self.outcomes <= COMPARED
        self._beyond = np.ascontiguousarray(beyond[:, : self.outcomes - 1].T) if compared else beyond.ravel()
        self._width = beyond.shape[1]

    def draw(self, row: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """One outcome of each row, by its probability.

        Args:
            row: state x A + action, (W,).
            random: where the random numbers come from, one for each row.

        Returns:
            Where the outcomes are in `next_state`, `reward` and `terminated`, (W,).
        """
        if self.outcomes == 1:  # nothing to choose
            return row
        chance = random.random(len(row))
        if self.outcomes == 2:
            return 2 * row + (self._beyond[0][row] <= chance)
        if self.outcomes <= COMPARED:
            return self.outcomes * row + np.add.reduce(self._beyond.take(row, axis=1) <= chance, axis=0, dtype=np.int64)
        before, step = row * self._width, self._width // 2
        first = before.copy()
        while step:
            before += step * (self._beyond[before + (step - 1)] <= chance)
            step //= 2
        return self.outcomes * row + (before - first)


def _outcomes(outcomes: Any, where: str, num_states: int) -> NDArray[np.float64]:
    """(K, 4), without those that cannot be."""
    table = np.array(outcomes, dtype=float).reshape(-1, 4)
    probability = table[:, 0]
    if (probability < 0.0).any() or not abs(probability.sum() - 1.0) < 1e-8:
        raise SettingError(f"{where}: probabilities must be from 0 to 1 and sum to 1, found {probability.tolist()[:8]}")
    table = table[probability > 0.0]
    if ((table[:, 1] < 0) | (table[:, 1] >= num_states)).any():
        raise SettingError(f"{where}: next states must be from 0 to {num_states - 1}, found {table[:, 1].astype(int).tolist()[:8]}")
    return table
