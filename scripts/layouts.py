"""How the states of an environment lie on paper: as the cells of a grid, as the tables of the book's figures, or in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mprl.envs.tabular.grid import DOWN, FOUR_MOVES, LEFT, RIGHT, UP, Move

# Gymnasium's own, by the name of their class: the moves of their actions.
_MOVES = {"CliffWalkingEnv": FOUR_MOVES, "FrozenLakeEnv": (LEFT, DOWN, RIGHT, UP)}


class Layout(NamedTuple):
    """A table of states.

    Attributes:
        states: (rows, columns), the first row on top.
        title: above it.
        letters: what is in each cell, (rows, columns), as in the maps of `envs/tabular/grid.py`, and `H` for a hole.
        axes: what rows and columns are.
        ticks: their names, row by row and column by column; none where there are none.
    """

    states: NDArray[np.int64]
    title: str = ""
    letters: NDArray[np.str_] | None = None
    axes: tuple[str, str] = ("", "")
    ticks: tuple[Sequence[str], Sequence[str]] = ((), ())


class Drawing(NamedTuple):
    """What a picture of values and policies needs to know of an environment.

    Attributes:
        layouts: tables of its states; none: they are drawn in a row.
        moves: rows down and columns to the right of each action, where actions are moves.
        actions: their names.
        labels: what a state and an action are.
        ends: the terminal states, (S,) bool, where they are known: there is nothing to say of them.
    """

    layouts: tuple[Layout, ...] = ()
    moves: tuple[Move, ...] | None = None
    actions: tuple[str, ...] = ()
    labels: tuple[str, str] = ("state", "action")
    ends: NDArray[np.bool_] | None = None


def drawing(env: Any) -> Drawing:
    """How to draw an environment: ours, Gymnasium's, or any that has a `shape` whose cells are its states."""
    env = env.unwrapped
    if isinstance(env, gym.vector.VectorEnv):  # one of its copies
        env = env.envs[0].unwrapped if isinstance(env, gym.vector.SyncVectorEnv) else getattr(env, "model", env)
    match type(env).__name__, type(env).__module__.partition(".")[0]:
        case "BlackjackEnv", package:
            return _blackjack(package == "mprl")
        case "JacksCarRentalEnv", _:
            return _jacks_car_rental()
        case "GamblerEnv", _:
            return Drawing(labels=("capital, dollars", "stake, dollars"), ends=env.terminal)
        case "MaximizationBiasEnv", _:
            return Drawing(labels=("state: 0 is A, 1 is B", "action: in A 0 is left, 1 right"), ends=env.terminal)
        case "TaxiEnv", _:
            return _taxi()
    shape = grid_shape(env)
    if shape is None:
        return Drawing(ends=getattr(env, "terminal", None))
    states = np.arange(shape[0] * shape[1]).reshape(shape)
    moves = getattr(env, "moves", _MOVES.get(type(env).__name__))
    return Drawing((Layout(states, letters=letters(env, shape)),), moves)


def grid_shape(env: Any) -> tuple[int, int] | None:
    """Rows and columns of an environment whose states are cells, row by row; None of another one."""
    found = getattr(env, "shape", None)
    if found is None and hasattr(env, "nrow") and hasattr(env, "ncol"):
        found = (env.nrow, env.ncol)
    number = getattr(env.observation_space, "n", None)
    if not isinstance(found, tuple) or len(found) != 2 or number is None or found[0] * found[1] != number:
        return None
    return int(found[0]), int(found[1])


def letters(env: Any, shape: tuple[int, int]) -> NDArray[np.str_] | None:
    """The map of a grid, as far as the environment tells it."""
    described = getattr(env, "desc", None)
    if described is not None and np.shape(described) == shape:
        return np.char.replace(np.asarray(described).astype(str), "F", ".")
    if type(env).__name__ == "CliffWalkingEnv":
        return np.array([list(row) for row in ("............", "............", "............", "SCCCCCCCCCCG")])
    return None


def _blackjack(ours: bool) -> Drawing:
    """The tables of Figure 5.2: of Example 5.1 as it is here, or of Gymnasium's (sum, dealer's card, usable ace)."""
    total, dealer = np.mgrid[21:11:-1, 1:11]
    sums, cards = [str(number) for number in range(21, 11, -1)], ["A", *map(str, range(2, 11))]

    def table(usable: int) -> NDArray[np.int64]:
        return 100 * usable + 10 * (total - 12) + dealer - 1 if ours else (11 * total + dealer) * 2 + usable

    axes = ("player's sum", "dealer shows")
    usable = Layout(table(1), "usable ace", axes=axes, ticks=(sums, cards))
    return Drawing((usable, Layout(table(0), "no usable ace", axes=axes, ticks=(sums, cards))), actions=("stick", "hit"))


def _taxi() -> Drawing:
    """The town of Gymnasium's Taxi for each place to bring the passenger to, who has been picked up."""
    cells, town = np.arange(25).reshape(5, 5), [["."] * 5 for _ in range(5)]
    for row, column, letter in ((0, 0, "R"), (0, 4, "Gr"), (4, 0, "Y"), (4, 3, "B")):
        town[row][column] = letter
    tables = (
        Layout((5 * cells + 4) * 4 + to, f"aboard, to {name}", np.array(town)) for to, name in enumerate(("red", "green", "yellow", "blue"))
    )
    return Drawing(tuple(tables), moves=(DOWN, UP, RIGHT, LEFT, (0, 0), (0, 0)))


def _jacks_car_rental() -> Drawing:
    """The table of Figure 4.2: cars at the first place upwards, at the second to the right."""
    states = np.arange(441).reshape(21, 21)[::-1]
    ticks = [str(number) if number % 5 == 0 else "" for number in range(21)]
    layout = Layout(states, axes=("cars at the first place", "cars at the second place"), ticks=(ticks[::-1], ticks))
    return Drawing((layout,), actions=tuple(f"{move:+d}" if move else "0" for move in range(-5, 6)), labels=("state", "cars moved"))
