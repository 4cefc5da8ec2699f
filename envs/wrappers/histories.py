"""The last observations as a sequence, for the models of `mprl.perception.histories`: what one observation does not tell, several may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

from mprl.envs.wrappers.either import either
from mprl.envs.wrappers.stacking import Form, Stack, StackVector

VECTORS = Form("length", "a history is of vectors, of shape (n,)", 1, new_axis=True)


def history(env: Any, length: int, keys: Sequence[str] | None = None) -> Any:
    """A single environment or a batch that shows its last observations, (T, n) float32: see `History` and `HistoryVector`.

    Args:
        env: observations are vectors, or a `Dict` with some.
        length: T.
        keys: which entries of a `Dict`; by default every vector.

    Raises:
        SettingError, UnknownNameError: see `History`.
    """
    return either(env, History, HistoryVector)(env, length, keys)


class History(Stack):
    """The last T observations of a single environment, (T, n) float32, oldest first; an episode begins with T times its first.

    Args:
        env: observations are a vector (n,), or a `Dict` with some.
        length: T.
        keys: which entries of a `Dict`; by default every vector.

    Raises:
        SettingError: no vector, or a length below one.
        UnknownNameError: no such entry.
    """

    def __init__(self, env: gym.Env[Any, Any], length: int, keys: Sequence[str] | None = None) -> None:
        super().__init__(env, length, VECTORS, keys)


class HistoryVector(StackVector):
    """The last T observations of each world, (W, T, n) float32, oldest first; an episode begins with T times its first.

    `final_obs` under SAME_STEP holds the last T observations of the episode that ended, as full arrays.

    Args:
        env: observations are vectors, (W, n), or a `Dict` with some.
        length, keys: see `History`.

    Raises:
        SettingError, UnknownNameError: see `History`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], length: int, keys: Sequence[str] | None = None) -> None:
        super().__init__(env, length, VECTORS, keys)
