"""The cliff of Sutton & Barto, Example 6.6: the shortest way is along the edge."""

from __future__ import annotations

from mprl.envs.tabular.grid import GridEnv
from mprl.envs.tabular.tabular import Outcome
from mprl.envs.tabular.vector import batched

START = 36


class CliffEnv(GridEnv):
    """A 4 x 12 grid with a cliff between start and goal (Sutton & Barto, Example 6.6), the same as Gymnasium's CliffWalking.

    | | |
    |---|---|
    | states | 48 cells, row by row; the cliff is 37 to 46 |
    | actions | 0 up, 1 right, 2 down, 3 left; off the grid: the cell stays the same |
    | reward | -1 for every step, -100 into the cliff, which leads back to the start and does not end the episode |
    | start | cell 36, bottom left |
    | end | terminated at the goal, cell 47, bottom right |

    Args:
        render_mode: "ansi" or "rgb_array".

    ## Versions
    v0: first.
    """

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(("............", "............", "............", "SCCCCCCCCCCG"), render_mode=render_mode)

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        new = self.moved(state, action)
        if self.letter(new) == "C":
            return [(1.0, START, -100.0, False)]
        return [(1.0, new, -1.0, bool(self.terminal[new]))]


CliffVectorEnv = batched(CliffEnv)
