"""The windy gridworld of Sutton & Barto, Example 6.5, with the king's moves and stochastic wind of its exercises."""

from __future__ import annotations

from mprl.envs.tabular.grid import FOUR_MOVES, KINGS_MOVES, GridEnv
from mprl.envs.tabular.tabular import Outcome
from mprl.envs.tabular.vector import batched

WIND = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)
"""Cells that each column blows upwards."""
MAP = ("..........", "..........", "..........", "S......G..", "..........", "..........", "..........")


class WindyGridworldEnv(GridEnv):
    """A 7 x 10 grid with a crosswind (Sutton & Barto, Example 6.5; Exercises 6.9 and 6.10).

    | | |
    |---|---|
    | states | 70 cells, row by row |
    | actions | 0 up, 1 right, 2 down, 3 left; with `kings_moves` also 4 up-right, 5 down-right, 6 down-left, 7 up-left; last, with `stand_still`, none |
    | wind | each step is also blown upwards by the wind of the column it starts in: 0 0 0 1 1 1 2 2 1 0 cells; the edge stops it |
    | reward | -1 for every step |
    | start | cell 30, row 3 at the left |
    | end | terminated at the goal, cell 37 |

    Args:
        kings_moves: diagonal moves too (Exercise 6.9).
        stand_still: an action that moves with the wind only (Exercise 6.9).
        stochastic_wind: where there is wind, it is one cell more or less, a third of the time each (Exercise 6.10).
        render_mode: "ansi" or "rgb_array".

    ## Versions
    v0: first.
    """  # noqa: E501

    def __init__(
        self, kings_moves: bool = False, stand_still: bool = False, stochastic_wind: bool = False, render_mode: str | None = None
    ) -> None:
        moves = KINGS_MOVES if kings_moves else FOUR_MOVES
        super().__init__(MAP, (*moves, (0, 0)) if stand_still else moves, render_mode)
        self.stochastic_wind = stochastic_wind

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        row, column = divmod(state, self.shape[1])
        down, right = self.moves[action]
        wind = WIND[column]
        winds = (wind - 1, wind, wind + 1) if wind and self.stochastic_wind else (wind,)
        cells = [self.cell(row + down - up, column + right) for up in winds]
        return [(1.0 / len(cells), cell, -1.0, bool(self.terminal[cell])) for cell in cells]


WindyGridworldVectorEnv = batched(WindyGridworldEnv)
