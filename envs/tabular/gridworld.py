"""The gridworld of Sutton & Barto, Example 4.1: two corners are terminal, every step costs one."""

from __future__ import annotations

from mprl.envs.tabular.grid import GridEnv
from mprl.envs.tabular.tabular import Outcome
from mprl.envs.tabular.vector import batched


class GridworldEnv(GridEnv):
    """A 4 x 4 grid whose shortest way out is sought (Sutton & Barto, Example 4.1 and Figure 4.1).

    | | |
    |---|---|
    | states | 16 cells, row by row; 0 and 15 are terminal |
    | actions | 0 up, 1 right, 2 down, 3 left; off the grid: the cell stays the same |
    | reward | -1 for every step |
    | start | any cell that is not terminal, all equally likely (the book has none) |
    | end | terminated in a terminal corner |

    Args:
        render_mode: "ansi" or "rgb_array".

    ## Versions
    v0: first.
    """

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(("T...", "....", "....", "...T"), render_mode=render_mode)

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        new = self.moved(state, action)
        return [(1.0, new, -1.0, bool(self.terminal[new]))]


GridworldVectorEnv = batched(GridworldEnv)
