"""Jack's car rental of Sutton & Barto, Example 4.2: how many cars to move overnight between two places."""

from __future__ import annotations

import functools
import math
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from mprl.envs.tabular.tabular import Outcome, TabularEnv
from mprl.envs.tabular.vector import batched

REQUESTS, RETURNS = (3.0, 4.0), (3.0, 2.0)  # expected a day, at the first and the second place
RENT, MOVE_COST, PARKING_COST = 10.0, 2.0, 4.0  # dollars
FREE_PARKING = 10  # cars
MAX_CARS, MAX_MOVE = 20, 5


class JacksCarRentalEnv(TabularEnv):
    """Two car rental places, and cars to be moved between them overnight (Sutton & Barto, Example 4.2 and Figure 4.2).

    | | |
    |---|---|
    | states | cars in the evening, first place x 21 + second place: 441; more than 20 at a place are sent away |
    | actions | 0 to 10: cars moved overnight from the first place to the second, plus 5 (so 5 moves none, 0 moves 5 back) |
    | `available` | moves of cars that are there; a move of more takes those that are there, and is paid for these |
    | reward | 10 dollars for each car rented the day after, -2 for each moved: the mean given how the day ends |
    | start | any state, all equally likely (the book has none) |
    | end | never: a continuing task, in the book with a discount of 0.9; `gymnasium.make` truncates after 1000 days |

    Requests and returns are Poisson, with means 3 and 3 at the first place, 4 and 2 at the second; a returned car can be rented
    the day after. Rents are worked out over all numbers of requests and returns, without a cut.

    Args:
        modified: Exercise 4.7: the first car moved from the first place to the second is free, and more than 10 cars overnight at
            a place cost 4 dollars.
        render_mode: "ansi" or "rgb_array".

    ## Versions
    v0: first.
    """

    discount = 0.9
    shape = (MAX_CARS + 1, MAX_CARS + 1)

    def __init__(self, modified: bool = False, render_mode: str | None = None) -> None:
        super().__init__((MAX_CARS + 1) ** 2, 2 * MAX_MOVE + 1, render_mode=render_mode)
        self.modified = modified
        first, second, move = np.ogrid[: MAX_CARS + 1, : MAX_CARS + 1, -MAX_MOVE : MAX_MOVE + 1]
        self.available = ((move <= first) & (-move <= second)).reshape(self.num_states, self.num_actions)
        self._days = functools.cache(self._day)  # many moves lead to the same morning

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        first, second = divmod(state, MAX_CARS + 1)
        move = max(min(action - MAX_MOVE, first), -second)
        first, second = min(first - move, MAX_CARS), min(second + move, MAX_CARS)
        cost = MOVE_COST * abs(move)
        if self.modified:
            cost += PARKING_COST * ((first > FREE_PARKING) + (second > FREE_PARKING)) - MOVE_COST * (move > 0)
        return self._days(first, second, cost)

    def _day(self, first: int, second: int, cost: float) -> list[Outcome]:
        """What a day can bring, from the cars of the morning and what the night has cost."""
        (p_first, rents_first), (p_second, rents_second) = (
            place[morning] for place, morning in zip(_places(), (first, second), strict=True)
        )
        probability = np.outer(p_first, p_second).ravel().tolist()
        reward = (RENT * np.add.outer(rents_first, rents_second) - cost).ravel().tolist()
        return list(zip(probability, range(self.num_states), reward, repeat(False)))

    def describe(self) -> str:
        first, second = divmod(self.s or 0, MAX_CARS + 1)
        return f"first place: {first} cars\nsecond place: {second} cars\n"


JacksCarRentalVectorEnv = batched(JacksCarRentalEnv)


@functools.cache
def _places() -> tuple[list[tuple[NDArray[np.float64], NDArray[np.float64]]], ...]:
    """Of each place, for each number of cars in the morning: probability of each number in the evening and mean rents given it, (21,)."""
    return tuple(
        [_evening(cars, requests, returns) for cars in range(MAX_CARS + 1)] for requests, returns in zip(REQUESTS, RETURNS, strict=True)
    )


def _evening(morning: int, requests: float, returns: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    probability, rents = np.zeros(MAX_CARS + 1), np.zeros(MAX_CARS + 1)
    for rented, p_rented in enumerate(_at_most(morning, requests)):
        left = morning - rented
        for returned, p_returned in enumerate(_at_most(MAX_CARS - left, returns)):
            probability[left + returned] += p_rented * p_returned
            rents[left + returned] += p_rented * p_returned * rented
    return probability, rents / probability


def _at_most(most: int, mean: float) -> list[float]:
    """Probabilities of 0, 1, ... of a Poisson variable that is cut to `most`, which gets all that is beyond."""
    below = [math.exp(-mean) * mean**number / math.factorial(number) for number in range(most)]
    return [*below, 1.0 - math.fsum(below)]
