"""The short corridor of Sutton & Barto, Example 13.1: where a good policy must be stochastic."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from mprl.envs.tabular.grid import LEFT, RIGHT, GridEnv
from mprl.envs.tabular.tabular import Outcome
from mprl.envs.tabular.vector import batched

REVERSED = 1


class ShortCorridorEnv(GridEnv):
    """Three cells in a row, in the second of which left is right and right is left (Sutton & Barto, Example 13.1).

    | | |
    |---|---|
    | states | 0, 1, 2 from the left, the goal is 3 |
    | actions | 0 left, 1 right; the other way round in 1; left in 0 changes nothing |
    | observation | the state; with `aliased` 0 in every state: they look alike, as to the book's agent |
    | reward | -1 for every step |
    | start | 0 |
    | end | terminated at the goal |

    The best policy that does not see the state goes right with probability 2 - sqrt(2) = 0.586, and has value -11.66.

    Args:
        aliased: all states look the same (in the book it is the function approximation that does this). `P` is that of the states.
        render_mode: "ansi" or "rgb_array".

    ## Versions
    v0: first.
    """

    def __init__(self, aliased: bool = False, render_mode: str | None = None) -> None:
        super().__init__(("S..G",), (LEFT, RIGHT), render_mode)
        if aliased:
            self.observations = np.zeros(self.num_states, dtype=np.int64)
            self.observation_space = gym.spaces.Discrete(1)

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        new = self.moved(state, 1 - action if state == REVERSED else action)
        return [(1.0, new, -1.0, bool(self.terminal[new]))]


ShortCorridorVectorEnv = batched(ShortCorridorEnv)
