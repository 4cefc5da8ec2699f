"""What a tabular agent has learned, as named arrays, and how their entries move towards targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[Any]


class Table(nn.Module):
    """Named arrays that are saved and loaded as a network's weights are.

    Args:
        arrays: by name. An array that is loaded may be longer or shorter (there may be another number of tables).
    """

    def __init__(self, **arrays: Array) -> None:
        super().__init__()
        self.arrays = arrays

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {name: torch.from_numpy(array) for name, array in self.arrays.items()}

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        found: dict[str, Tensor] = dict(state_dict)
        for name, array in self.arrays.items():
            new = found[name].numpy()
            if new.shape[1:] != array.shape[1:] or new.dtype != array.dtype:
                raise ValueError(f"'{name}' is {new.shape} {new.dtype}, expected {array.shape} {array.dtype}")
            self.arrays[name] = new.copy()


class Updates:
    """Moves entries of a table towards targets: v += α (target - v).

    Where worlds share a table, several may want to move the same entry in one step. n targets of mean m then move it as n of them, one
    after the other, would if all of them were m: by 1 - (1 - α)^n of the way. With sample averages (α = 1 / N, N counting the targets so
    far) this is the mean of all targets, whatever their order.

    Args:
        distinct: no entry is ever asked for twice in a call: each world has a table of its own.
    """

    def __init__(self, distinct: bool) -> None:
        self.distinct = distinct
        self.step_size: float | None = None
        self._share = np.zeros(0)
        self._number, self._moves = np.empty(0, np.int64), np.empty(0)  # how often each entry is moved in a call, and by how much

    def begin(self, step_size: float | None) -> None:
        """From now on α is this; None: sample averages."""
        if step_size != self.step_size:
            self._share = np.zeros(0)
        self.step_size = step_size

    def __call__(self, values: Array, index: Array, target: Array, counts: Array) -> None:
        """Move `values[index]` towards `target`; where they are sample averages `counts[index]` counts the targets.

        Args:
            values: the table, flat, (N,).
            index: into it, (n,).
            target: (n,).
            counts: (N,), or (0,) where the step size is given.
        """
        old = values.take(index)
        difference = target - old
        if self.distinct or len(index) == 1:
            if self.step_size is None:
                counts[index] += 1
                values[index] = old + difference / counts.take(index)
            else:
                values[index] = old + self.step_size * difference
        elif len(values) <= 8 * len(index):  # measured: cheaper than the other way up to about there
            times = np.bincount(index, minlength=len(values))
            sums = np.bincount(index, difference, minlength=len(values))
            if self.step_size is None:
                counts += times
                values += sums / np.maximum(counts, 1)
            else:
                values += sums * self._share_of(len(index)).take(times)
        else:
            if len(self._number) != len(values):
                self._number, self._moves = np.empty(len(values), np.int64), np.empty(len(values))
            number, moves = self._number, self._moves
            number[index], moves[index] = 0, 0.0
            np.add.at(number, index, 1)
            np.add.at(moves, index, difference)
            hits, total = number.take(index), moves.take(index)
            if self.step_size is None:
                new = counts.take(index) + hits
                counts[index] = new  # worlds with the same entry write the same
                values[index] = old + total / new
            else:
                values[index] = old + total * self._share_of(len(index)).take(hits)

    def _share_of(self, most: int) -> Array:
        """(1 - (1 - α)^n) / n for n = 0 ... most."""
        if len(self._share) <= most:
            n = np.arange(most + 1)
            self._share = (1 - (1 - (self.step_size or 0.0)) ** n) / np.maximum(n, 1)
        return self._share
