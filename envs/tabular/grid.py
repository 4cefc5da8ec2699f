"""Worlds of cells, drawn as text: `S` start, `G` goal, `T` another terminal cell, `#` wall, `C` cliff, `.` floor."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mprl.envs.tabular.tabular import TabularEnv

Move = tuple[int, int]
"""Rows down, columns to the right."""

UP, RIGHT, DOWN, LEFT = (-1, 0), (0, 1), (1, 0), (0, -1)
FOUR_MOVES: tuple[Move, ...] = (UP, RIGHT, DOWN, LEFT)
"""In the order of Gymnasium's CliffWalking."""
KINGS_MOVES: tuple[Move, ...] = (*FOUR_MOVES, (-1, 1), (1, 1), (1, -1), (-1, -1))
"""And the diagonals, clockwise too."""


class GridEnv(TabularEnv):
    """A grid world. The state is row x columns + column, both from 0 at the top left.

    Attributes:
        desc: the letters, (rows, columns).
        shape: (rows, columns).
        moves: rows down and columns to the right of each action.

    Args:
        rows: the map, one text per row. Goals, other terminal cells and walls are terminal states (a wall is never entered).
            Episodes start in a cell `S`, or where there is none in any that is not terminal.
        moves: of the actions.
        render_mode: "ansi" or "rgb_array".
    """

    def __init__(self, rows: Sequence[str], moves: Sequence[Move] = FOUR_MOVES, render_mode: str | None = None) -> None:
        self.desc = np.array([list(row) for row in rows])
        self.shape: tuple[int, int] = self.desc.shape
        self.moves = tuple(moves)
        letters = self.desc.ravel()
        start = (letters == "S").astype(float) if "S" in letters else None
        super().__init__(letters.size, len(self.moves), np.flatnonzero(np.isin(letters, list("GT#"))), start, render_mode)

    def cell(self, row: int, column: int) -> int:
        """The state of a cell, or of the nearest one in the grid."""
        rows, columns = self.shape
        return min(max(row, 0), rows - 1) * columns + min(max(column, 0), columns - 1)

    def moved(self, state: int, action: int) -> int:
        """The state one move further; walls and the edge of the grid leave all as it is."""
        row, column = divmod(state, self.shape[1])
        down, right = self.moves[action]
        new = self.cell(row + down, column + right)
        return state if self.letter(new) == "#" else new

    def letter(self, state: int) -> str:
        """What the map has in a cell."""
        return str(self.desc.flat[state])

    def describe(self) -> str:
        letters = self.desc.copy()
        if self.s is not None:
            letters.flat[self.s] = "@"
        return "\n".join("".join(row) for row in letters) + "\n"

    def _picture(self) -> NDArray[np.uint8]:
        from mprl.envs.tabular.pictures import put_agent

        frame = self._empty.copy()
        if self.s is not None:
            put_agent(frame, *divmod(self.s, self.shape[1]))
        return frame

    @functools.cached_property
    def _empty(self) -> NDArray[np.uint8]:
        from mprl.envs.tabular.pictures import grid

        return grid(self.desc)
