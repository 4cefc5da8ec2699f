"""The random walk of Sutton & Barto, Examples 6.2 and 7.1: nothing to decide, something to predict."""

from __future__ import annotations

from mprl.envs.tabular.grid import GridEnv
from mprl.envs.tabular.tabular import Outcome
from mprl.envs.tabular.vector import batched
from mprl.errors import SettingError


class RandomWalkEnv(GridEnv):
    """A walk that goes left or right by chance until it falls off an end (Sutton & Barto, Examples 6.2 and 7.1).

    | | |
    |---|---|
    | states | 0 is the terminal left end, then the book's A, B, C, ... from 1 to `states`, `states` + 1 the terminal right end |
    | actions | one, 0: it is a Markov reward process; each step is to the left or to the right with probability 1/2 |
    | reward | `left_reward` on reaching the left end, `right_reward` on reaching the right one, else 0 |
    | start | the middle |
    | end | terminated at either end |

    Example 6.2 is the default; Example 7.1 is `states=19, left_reward=-1.0`.

    Args:
        states: number of states that are not terminal, odd.
        left_reward, right_reward: at the ends.
        render_mode: "ansi" or "rgb_array".

    Raises:
        SettingError: a number of states that has no middle.

    ## Versions
    v0: first.
    """

    def __init__(self, states: int = 5, left_reward: float = 0.0, right_reward: float = 1.0, render_mode: str | None = None) -> None:
        if states < 1 or states % 2 == 0:
            raise SettingError(f"a random walk starts in the middle: states must be odd, found {states}")
        half = "." * (states // 2)
        super().__init__((f"T{half}S{half}T",), moves=((0, 0),), render_mode=render_mode)
        self.end_reward = {0: float(left_reward), states + 1: float(right_reward)}

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        return [(0.5, new, self.end_reward.get(new, 0.0), bool(self.terminal[new])) for new in (state - 1, state + 1)]


RandomWalkVectorEnv = batched(RandomWalkEnv)
