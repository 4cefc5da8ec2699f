"""Partial observation: an environment of which some numbers are not seen, velocities say, so that its agent has to infer them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from mprl.envs.wrappers.either import either
from mprl.errors import SettingError, number


def hide(env: Any, indices: Sequence[int]) -> Any:
    """A single environment or a batch without some numbers of its observations: see `Hidden` and `HiddenVector`.

    Args:
        env: observations are a vector.
        indices: of the numbers that are left out.

    Raises:
        SettingError: see `Hidden`.
    """
    return either(env, Hidden, HiddenVector)(env, indices)


class Hidden(gym.ObservationWrapper[Any, Any, Any]):
    """A single environment without some numbers of its observations.

    Args:
        env: observations are a vector (n,).
        indices: of the numbers that are left out, from 0.

    Raises:
        SettingError: no vector, no such number, the same one twice, or all of them.
    """

    def __init__(self, env: gym.Env[Any, Any], indices: Sequence[int]) -> None:
        super().__init__(env)
        self._seen = _others(env.observation_space, indices)
        self.observation_space = _part(env.observation_space, self._seen)

    def observation(self, observation: Any) -> Any:
        return observation[self._seen]


class HiddenVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """A batch without some numbers of its observations, those in `final_obs` included. Tensors stay tensors.

    Args:
        env: observations are vectors, (W, n).
        indices: see `Hidden`.

    Raises:
        SettingError: see `Hidden`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], indices: Sequence[int]) -> None:
        super().__init__(env)
        self._seen = _others(env.single_observation_space, indices)
        self.single_observation_space = _part(env.single_observation_space, self._seen)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation[:, self._seen], info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info:
            info = {**info, "final_obs": self._final(info["final_obs"])}
        return observation[:, self._seen], reward, terminated, truncated, info

    def _final(self, final: Any) -> Any:
        """Last observations: a full array, or Gymnasium's own list with holes."""
        if not (isinstance(final, np.ndarray) and final.dtype == object):
            return final[:, self._seen]
        seen = np.empty(len(final), object)
        for world, each in enumerate(final):
            seen[world] = None if each is None else each[self._seen]
        return seen


def _others(space: gym.Space[Any], indices: Sequence[int]) -> list[int]:
    """Of the numbers that are seen."""
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise SettingError(f"numbers can be hidden of a vector, of shape (n,), found {str(space)[:60]}")
    if not isinstance(indices, Iterable):
        raise SettingError(f"numbers to hide are a list of indices, like [1, 3], found {indices!r}")
    hidden = [number("a hidden index", index, whole=True) for index in indices]
    size = space.shape[0]
    for index in hidden:
        if not 0 <= index < size:
            raise SettingError(f"no number {index} to hide: the observation has {size}, from 0 to {size - 1}")
    if len(set(hidden)) < len(hidden):
        raise SettingError(f"indices to hide must be different, found {tuple(hidden)}")
    if len(hidden) == size:
        raise SettingError(f"all {size} numbers of the observation are hidden: leave some")
    return [index for index in range(size) if index not in hidden]


def _part(space: Any, seen: list[int]) -> gym.spaces.Box:
    return gym.spaces.Box(space.low[seen], space.high[seen], dtype=space.dtype)
