"""Drawing from a discrete distribution that changes: a tree of sums whose every operation takes a whole batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FANOUT = 16  # children of a node: NumPy adds up a short row as fast as a pair, so fewer levels are faster than two children


class SumTree:
    """Non-negative priorities of `capacity` items; draws items in proportion to them, N items in O(log capacity) NumPy operations.

    A node holds the sum of its children, computed from them anew with each change: no rounding error is carried along.

    Args:
        capacity: how many items there can be.
    """

    def __init__(self, capacity: int) -> None:
        self._levels: list[NDArray[np.float64]] = []  # the priorities first, the root last, (nodes, FANOUT) each
        nodes = capacity
        while not self._levels or nodes > 1:
            nodes = -(-nodes // FANOUT)
            self._levels.append(np.zeros((nodes, FANOUT)))

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return float(self._levels[-1].sum())

    def __getitem__(self, items: Any) -> NDArray[np.float64]:
        """Priorities of items: indices (N,) or a slice."""
        return self._levels[0].reshape(-1)[items]

    def __setitem__(self, items: NDArray[np.int64], priorities: Any) -> None:
        """New priorities of items (N,); of an item named twice the later one stays."""
        self._levels[0].reshape(-1)[items] = priorities
        for level, above in zip(self._levels, self._levels[1:], strict=False):
            items = items // FANOUT if len(items) < len(level) else np.arange(len(level))
            above.reshape(-1)[items] = level[items].sum(axis=1)

    def find(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The items (N,) whose share of [0, total) the values (N,) fall into; never one of priority 0."""
        nodes = np.zeros(len(values), np.int64)
        rows = np.arange(len(values)) * (FANOUT + 1)
        bounds = np.zeros((len(values), FANOUT + 1))  # where the children of the node that was come to begin and end
        for level in reversed(self._levels):
            np.cumsum(level.take(nodes, axis=0), axis=1, out=bounds[:, 1:])
            values = np.minimum(values, np.nextafter(bounds[:, -1], -np.inf))  # rounding must not lead behind the last child
            child = (bounds[:, 1:] > values[:, None]).argmax(axis=1)
            values = values - bounds.take(rows + child)
            nodes = nodes * FANOUT + child
        return nodes

    def sample(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """One item (N,) from each of N equal parts of the total (stratified); `uniform` are numbers in [0, 1), (N,)."""
        return self.find((np.arange(len(uniform)) + uniform) * (self.total / len(uniform)))
