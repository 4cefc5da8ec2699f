"""The order in which values are backed up: all at once, one after the other, or the worst first. No loop over single states."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular import reachability
from mprl.agents.tabular.mdp import TabularMDP
from mprl.agents.tabular.policies import greatest

Order = Literal["synchronous", "gauss_seidel", "prioritized"]


class GaussSeidel:
    """Sweeps in place in the order of the states, exactly: each state sees the new values of those before it.

    States that do not lead to each other may be backed up together without a difference. So the states are put into blocks: a state's
    block is after that of every earlier state it leads to or is led to from. A gridworld's blocks are its diagonals.
    """

    def __init__(self, mdp: TabularMDP) -> None:
        self._blocks = [Block(mdp, states) for states in sequential_blocks(mdp)]
        self.backups = mdp.num_states

    def sweep(self, values: NDArray[np.float64]) -> float:
        """Back up all states, in place; the greatest change."""
        return max(block.backup(values) for block in self._blocks)


class Block:
    """Some states, and the rows of the model that they are backed up with."""

    def __init__(self, mdp: TabularMDP, states: NDArray[np.int64]) -> None:
        rows = (states[:, None] * mdp.num_actions + np.arange(mdp.num_actions)).ravel()
        self._states, self._transitions = states, mdp.transitions[rows] * mdp.discount
        self._rewards = mdp.rewards[states]

    def backup(self, values: NDArray[np.float64]) -> float:
        """Back up these states, in place; the greatest change."""
        new = greatest(self._rewards + (self._transitions @ values).reshape(self._rewards.shape))
        change = float(np.abs(new - values[self._states]).max())
        values[self._states] = new
        return change


class Prioritized:
    """Prioritised sweeping (Sutton & Barto, 8.4), many states at a time: those whose error is at least half the greatest."""

    def __init__(self, mdp: TabularMDP) -> None:
        self._mdp = mdp
        source, target = reachability.edges(mdp, mdp.available)
        order = np.argsort(target, kind="stable")
        self._predecessors = source[order]
        self._first = np.searchsorted(target[order], np.arange(mdp.num_states + 1))
        self._errors: NDArray[np.float64] | None = None
        self.backups = 0

    def sweep(self, values: NDArray[np.float64]) -> float:
        """Back up the states with the greatest errors, in place; the greatest error that is left."""
        states = np.arange(self._mdp.num_states)
        if self._errors is None:
            self._errors = np.zeros(self._mdp.num_states)
        else:
            size = np.abs(self._errors)
            worst = np.flatnonzero(size >= size.max() / 2)
            values[worst] += self._errors[worst]
            concerned = np.zeros(self._mdp.num_states, dtype=bool)
            concerned[worst] = True
            concerned[self._predecessors[_ranges(self._first[worst], self._first[worst + 1])]] = True
            states = np.flatnonzero(concerned)
        self._errors[states] = self._backup(values, states) - values[states]
        self.backups = len(states)
        return float(np.abs(self._errors).max())

    def _backup(self, values: NDArray[np.float64], states: NDArray[np.int64]) -> NDArray[np.float64]:
        mdp = self._mdp
        rows = (states[:, None] * mdp.num_actions + np.arange(mdp.num_actions)).ravel()
        later = (mdp.transitions[rows] @ values).reshape(len(states), mdp.num_actions)
        return greatest(mdp.rewards[states] + mdp.discount * later)


def sequential_blocks(mdp: TabularMDP) -> list[NDArray[np.int64]]:
    """States (n,) of each block, in order: whoever waits for no earlier state is next, all of them together."""
    source, target = reachability.edges(mdp, mdp.available)
    other = source != target
    earlier, later = np.minimum(source, target)[other], np.maximum(source, target)[other]
    order = np.argsort(earlier, kind="stable")
    later, first = later[order], np.searchsorted(earlier[order], np.arange(mdp.num_states + 1))
    waiting_for = np.bincount(later, minlength=mdp.num_states)
    blocks = [np.flatnonzero(waiting_for == 0)]
    while True:
        freed = later[_ranges(first[blocks[-1]], first[blocks[-1] + 1])]
        if not len(freed):
            return blocks
        np.subtract.at(waiting_for, freed, 1)
        candidates = np.unique(freed)
        blocks.append(candidates[waiting_for[candidates] == 0])


def _ranges(first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """first[0]…end[0]−1, first[1]…end[1]−1, …, in one array."""
    lengths = end - first
    return np.repeat(first - np.concatenate(([0], lengths.cumsum()[:-1])), lengths) + np.arange(lengths.sum())
