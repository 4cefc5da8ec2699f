"""The two states of Sutton & Barto, Example 6.7, in which Q-learning is led astray by the maximum of noisy estimates."""

from __future__ import annotations

import numpy as np

from mprl.envs.tabular.tabular import Outcome, TabularEnv
from mprl.envs.tabular.vector import batched
from mprl.errors import SettingError

A, B, END = 0, 1, 2
LEFT, RIGHT = 0, 1


class MaximizationBiasEnv(TabularEnv):
    """Going left looks good by chance, but costs 0.1 on average (Sutton & Barto, Example 6.7 and Figure 6.5).

    | | |
    |---|---|
    | states | A = 0, B = 1, terminal = 2 |
    | actions | in A: 0 left, to B; 1 right, to the end. In B: each of them leads to the end |
    | `available` | in A only 0 and 1; any other is a right there |
    | reward | 0 from A; from B normal with mean `mean` and standard deviation `std` (`P` has the mean, `reward_std` the deviation) |
    | start | A |
    | end | terminated after one step (right) or two (left) |

    Args:
        actions: in B; the book says "many", its figure is that of 10.
        mean, std: of the reward from B.
        render_mode: "ansi" or "rgb_array".

    Raises:
        SettingError: fewer than 2 actions, or a negative deviation.

    ## Versions
    v0: first.
    """

    def __init__(self, actions: int = 10, mean: float = -0.1, std: float = 1.0, render_mode: str | None = None) -> None:
        if actions < 2 or std < 0.0:
            raise SettingError(f"there must be at least 2 actions and std must not be negative, found {actions} and {std}")
        super().__init__(3, actions, terminal=(END,), start=A, render_mode=render_mode)
        self.mean = float(mean)
        self.available = np.ones((3, actions), dtype=bool)
        self.available[A, RIGHT + 1 :] = False
        self.reward_std = np.zeros((3, actions))
        self.reward_std[B] = std

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        if state == B:
            return [(1.0, END, self.mean, True)]
        return [(1.0, B, 0.0, False)] if action == LEFT else [(1.0, END, 0.0, True)]

    def describe(self) -> str:
        return f"in {('A', 'B', 'the terminal state')[self.s or 0]}\n"


MaximizationBiasVectorEnv = batched(MaximizationBiasEnv)
