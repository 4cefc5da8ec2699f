"""Latency: an environment whose observations come some steps late, as those of cameras and of networks that look at pictures do."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv, VectorWrapper

from mprl.envs.wrappers.either import either
from mprl.envs.wrappers.histories import History, HistoryVector
from mprl.errors import number


def delay(env: Any, steps: int) -> Any:
    """A single environment or a batch whose observations are those of `steps` steps ago; an episode begins with its first one.

    Args:
        env: observations are a vector, (n,); they are shown in float32.
        steps: how many; 0 changes nothing.

    Raises:
        SettingError: no vector, no environment, or fewer steps than none.
    """
    late = number("steps to be late by", steps, 0, whole=True)
    return either(env, Delayed, DelayedVector)(env, late)


class Delayed(gym.ObservationWrapper[Any, Any, Any]):
    """See `delay`."""

    def __init__(self, env: gym.Env[Any, Any], steps: int) -> None:
        super().__init__(History(env, steps + 1))
        self.observation_space = env.observation_space

    def observation(self, observation: Any) -> Any:
        return observation[0]


class DelayedVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """See `delay`. Tensors stay tensors; `final_obs` under SAME_STEP is as late as the others."""

    def __init__(self, env: VectorEnv[Any, Any, Any], steps: int) -> None:
        super().__init__(HistoryVector(env, steps + 1))
        self.single_observation_space, self.observation_space = env.single_observation_space, env.observation_space

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation[:, 0], info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info:
            info = {**info, "final_obs": info["final_obs"][:, 0]}
        return observation[:, 0], reward, terminated, truncated, info
