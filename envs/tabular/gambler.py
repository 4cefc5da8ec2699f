"""The gambler's problem of Sutton & Barto, Example 4.3: how much to stake on heads."""

from __future__ import annotations

import numpy as np

from mprl.envs.tabular.tabular import Outcome, TabularEnv
from mprl.envs.tabular.vector import batched
from mprl.errors import SettingError


class GamblerEnv(TabularEnv):
    """A gambler stakes dollars on the flips of a coin until he has 100 or none (Sutton & Barto, Example 4.3 and Figure 4.3).

    | | |
    |---|---|
    | states | capital from 0 to `goal`, dollars; 0 and `goal` are terminal |
    | actions | stake from 0 to `goal` / 2, dollars; heads win it, tails lose it |
    | `available` | 1 to min(capital, `goal` - capital); a stake of 0 changes nothing, one that is too high is cut to the highest |
    | reward | +1 on reaching `goal`, else 0: the value of a state is the probability to win from there |
    | start | 1 to `goal` - 1, all equally likely (the book has none) |
    | end | terminated with a capital of 0 or `goal` |

    Args:
        p_heads: probability of heads; 0.4 in Figure 4.3, 0.25 and 0.55 in Exercise 4.9.
        goal: capital to reach, dollars.
        render_mode: "ansi" or "rgb_array".

    Raises:
        SettingError: a probability outside [0, 1], or a goal below 2.

    ## Versions
    v0: first.
    """

    def __init__(self, p_heads: float = 0.4, goal: int = 100, render_mode: str | None = None) -> None:
        if not 0.0 <= p_heads <= 1.0 or goal < 2:
            raise SettingError(f"p_heads must be a probability and goal at least 2, found {p_heads} and {goal}")
        super().__init__(goal + 1, goal // 2 + 1, terminal=(0, goal), render_mode=render_mode)
        self.p_heads, self.goal = p_heads, goal
        capital, stake = np.ogrid[: goal + 1, : goal // 2 + 1]
        self.available = (stake >= 1) & (stake <= np.minimum(capital, goal - capital))
        self.available[[0, goal], 0] = True

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        stake = min(action, state, self.goal - state)
        if stake == 0:
            return [(1.0, state, 0.0, False)]
        won, lost = state + stake, state - stake
        heads = (self.p_heads, won, float(won == self.goal), won == self.goal)
        tails = (1.0 - self.p_heads, lost, 0.0, lost == 0)
        return [heads, tails]

    def describe(self) -> str:
        return f"capital: {self.s} of {self.goal} dollars"


GamblerVectorEnv = batched(GamblerEnv)
