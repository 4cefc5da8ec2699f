"""Observations of finitely many kinds as whole numbers: states 0 ... S - 1."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from mprl.agents.descriptions import in_words
from mprl.agents.environments import Batch, Step
from mprl.agents.spaces import require_actions
from mprl.errors import SettingError

Integers = NDArray[np.int64]


class States:
    """The states that a space's elements are, numbered in the order of `np.ravel_multi_index`.

    Args:
        space: Discrete, MultiDiscrete, or a Tuple of Discrete ones.

    Raises:
        SettingError: any other space.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self.sizes: tuple[int, ...]
        self.starts: tuple[int, ...]
        match space:
            case gym.spaces.Discrete():
                self.sizes, self.starts = (int(space.n),), (int(space.start),)
            case gym.spaces.MultiDiscrete() if len(space.shape) == 1:
                self.sizes, self.starts = tuple(map(int, space.nvec)), tuple(map(int, space.start))
            case gym.spaces.Tuple() if all(isinstance(part, gym.spaces.Discrete) for part in space):
                parts: Any = space.spaces
                self.sizes, self.starts = tuple(int(part.n) for part in parts), tuple(int(part.start) for part in parts)
            case _:
                raise SettingError(
                    "tabular agents need observations in a Discrete, MultiDiscrete or Tuple of Discrete space, "
                    f"found {in_words(space)}; discretise them with a wrapper, or take a deep agent"
                )
        self.columns = isinstance(space, gym.spaces.MultiDiscrete)
        self.number = int(np.prod(self.sizes, dtype=object))
        self.plain = isinstance(space, gym.spaces.Discrete) and not self.starts[0]

    def __call__(self, observation: Any) -> Integers:
        """The states (W,) of observations, as a vector environment gives them; () of a single one."""
        if self.plain:
            return np.asarray(observation, np.int64)
        if len(self.sizes) == 1 and not self.columns and not isinstance(observation, tuple):
            return np.asarray(observation, np.int64) - self.starts[0]
        parts = np.moveaxis(np.asarray(observation), -1, 0) if self.columns else observation
        state = np.zeros((), np.int64)
        for part, size, start in zip(parts, self.sizes, self.starts, strict=True):
            state = state * size + (np.asarray(part, np.int64) - start)
        return state


class StateBatch(Batch):
    """An environment's worlds with states for observations, (W,) int64.

    Args:
        env: its observations are what `States` takes, its actions are Discrete.
        device: has no use.
    """

    def __init__(self, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], device: torch.device | str = "cpu") -> None:
        super().__init__(env, device)
        self.states = States(self.env.single_observation_space)
        require_actions(self.env.single_action_space, (gym.spaces.Discrete,), "a tabular agent")
        self._first_action = int(self.env.single_action_space.start)

    @property
    def every_world(self) -> Any:
        """`valid` of a step that all worlds took: the same object each time."""
        return self._all

    def reset(self, seed: int | None = None) -> Integers:
        """First states, (W,)."""
        return self.states(super().reset(seed))

    def step(self, action: Integers) -> Step:
        """Act in all worlds: actions 0 ... A - 1, (W,)."""
        step = super().step(action + self._first_action if self._first_action else action)
        if self.states.plain and isinstance(step.observation, np.ndarray) and step.observation.dtype == np.int64:
            return step
        final = step.final_observation
        return Step(
            self.states(step.observation), step.reward, step.terminated, step.truncated, step.valid,
            None if final is None else self.states(final), step.info,
        )  # fmt: skip

    def blank(self) -> Integers:
        return np.zeros(self.num_worlds, np.int64)

    def from_tensor(self, observation: Tensor) -> Integers:
        return observation.numpy()
