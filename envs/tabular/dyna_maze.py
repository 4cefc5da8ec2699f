"""The mazes of Sutton & Barto, chapter 8: of Dyna-Q (Example 8.1), and those that change (Examples 8.2 and 8.3)."""

from __future__ import annotations

from typing import Literal

from mprl.envs.tabular.grid import GridEnv
from mprl.envs.tabular.tabular import Outcome
from mprl.envs.tabular.vector import batched
from mprl.errors import unknown_name

DYNA = (
    ".......#G",
    "..#....#.",
    "S.#....#.",
    "..#......",
    ".....#...",
    ".........",
)
BARRIER = (
    "........G",
    ".........",
    ".........",
    "{}",
    ".........",
    "...S.....",
)
# row 3, before and after the change
MAZES = {"blocking": ("########.", ".########"), "shortcut": (".########", ".#######.")}


class DynaMazeEnv(GridEnv):
    """A 6 x 9 maze in which only the goal has a reward (Sutton & Barto, Example 8.1; Examples 8.2 and 8.3).

    | | |
    |---|---|
    | states | 54 cells, row by row, of which walls are never entered |
    | actions | 0 up, 1 right, 2 down, 3 left; into a wall or off the grid: the cell stays the same |
    | reward | +1 on reaching the goal, else 0; in the book with a discount of 0.95 |
    | start | cell 18 (row 2, left); in the other mazes cell 48 (row 5, column 3) |
    | end | terminated at the goal, cell 8, top right |

    | `maze` | before the change | with `changed=True` |
    |---|---|---|
    | `"dyna"` (Figure 8.2) | three walls, 14 steps to the goal | the same |
    | `"blocking"` (Figure 8.4) | a barrier with an opening at the right, 10 steps | it is closed, and open at the left, 16 steps |
    | `"shortcut"` (Figure 8.5) | a barrier with an opening at the left, 16 steps | it is open at the right too, 10 steps |

    Args:
        maze: "dyna", "blocking" or "shortcut".
        changed: the maze as it is after the book's change (after 1000 steps in Figure 8.4, 3000 in Figure 8.5).
        render_mode: "ansi" or "rgb_array".

    Raises:
        UnknownNameError: another maze.

    ## Versions
    v0: first.
    """

    discount = 0.95

    def __init__(
        self, maze: Literal["dyna", "blocking", "shortcut"] = "dyna", changed: bool = False, render_mode: str | None = None
    ) -> None:
        if maze not in ("dyna", *MAZES):
            raise unknown_name("maze", str(maze), ("dyna", *MAZES), f"known: dyna, {', '.join(MAZES)}")
        rows = DYNA if maze == "dyna" else tuple(row.format(MAZES[maze][changed]) for row in BARRIER)
        super().__init__(rows, render_mode=render_mode)

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        new = self.moved(state, action)
        goal = self.letter(new) == "G"
        return [(1.0, new, float(goal), goal)]


DynaMazeVectorEnv = batched(DynaMazeEnv)
