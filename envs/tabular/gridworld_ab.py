"""The gridworld of Sutton & Barto, Example 3.5: two special cells, and no end."""

from __future__ import annotations

from mprl.envs.tabular.grid import GridEnv
from mprl.envs.tabular.tabular import Outcome
from mprl.envs.tabular.vector import batched

SPECIAL = {1: (21, 10.0), 3: (13, 5.0)}
"""A and B: where every action leads from there, and its reward."""


class GridworldABEnv(GridEnv):
    """A 5 x 5 grid in which two cells are worth going to, again and again (Sutton & Barto, Example 3.5, Figures 3.2 and 3.5).

    | | |
    |---|---|
    | states | 25 cells, row by row |
    | actions | 0 up, 1 right, 2 down, 3 left; in A = 1 every action leads to A' = 21, in B = 3 to B' = 13 |
    | reward | +10 from A, +5 from B, -1 for a step off the grid (the cell stays the same), else 0 |
    | start | any cell, all equally likely (the book has none) |
    | end | never: a continuing task, in the book with a discount of 0.9; `gymnasium.make` truncates after 1000 steps |

    Args:
        render_mode: "ansi" or "rgb_array".

    ## Versions
    v0: first.
    """

    discount = 0.9

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__((".A.B.", ".....", "...b.", ".....", ".a..."), render_mode=render_mode)

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        if state in SPECIAL:
            return [(1.0, *SPECIAL[state], False)]
        new = self.moved(state, action)
        return [(1.0, new, -1.0 if new == state else 0.0, False)]


GridworldABVectorEnv = batched(GridworldABEnv)
