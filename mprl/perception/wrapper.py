"""A Gymnasium environment whose observations are what a perception model makes of them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from torch import Tensor

from mprl.perception.plug import Perception, check_perception


def perceive(env: Any, perception: Perception) -> Any:
    """An environment, single or vector, seen through a perception model: features in place of what it reads.

    Of a Dict observation the part under the model's key becomes a vector of features, the others stay as they are. Features are
    float32 and nothing learns here.

    Args:
        env: the environment.
        perception: the model; put into eval mode.

    Raises:
        PerceptionError: this is no model, or the environment's observations are not what it reads.
    """
    check_perception(perception)
    wrapper = PerceptionVectorWrapper if isinstance(env.unwrapped, VectorEnv) else PerceptionWrapper
    return wrapper(env, perception)


class PerceptionWrapper(gym.ObservationWrapper):
    """A single environment seen through a perception model: see `perceive`."""

    def __init__(self, env: gym.Env[Any, Any], perception: Perception) -> None:
        super().__init__(env)
        perception.spec.check(env.observation_space)
        self.perception = perception.eval()
        self.observation_space = seen_space(env.observation_space, perception)

    def observation(self, observation: Any) -> Any:
        key = self.perception.spec.key
        part = observation if key is None else observation[key]
        features = look(self.perception, np.asarray(part)[None])[0]
        return features if key is None else {**observation, key: features}


class PerceptionVectorWrapper(VectorWrapper):
    """A vector environment seen through a perception model: see `perceive`. Tensors stay tensors, on the model's device."""

    def __init__(self, env: VectorEnv[Any, Any, Any], perception: Perception) -> None:
        super().__init__(env)
        perception.spec.check(env.single_observation_space)
        self.perception = perception.eval()
        self.single_observation_space = seen_space(env.single_observation_space, perception)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._seen(observation), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        if "final_obs" in info and self.env.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP:
            info = {**info, "final_obs": self._final(info["final_obs"])}
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: Any) -> Any:
        key = self.perception.spec.key
        features = look(self.perception, observation if key is None else observation[key])
        return features if key is None else {**observation, key: features}

    def _final(self, final: Any) -> Any:
        """Last observations: a full array, or Gymnasium's own list with holes, of which each is seen alone."""
        if not (isinstance(final, np.ndarray) and final.dtype == object):
            return self._seen(final)
        seen = np.empty(len(final), dtype=object)
        for world, each in enumerate(final):
            if each is not None:
                rows = {key: np.asarray(part)[None] for key, part in each.items()} if isinstance(each, dict) else np.asarray(each)[None]
                found = self._seen(rows)
                seen[world] = {key: part[0] for key, part in found.items()} if isinstance(found, dict) else found[0]
        return seen


def seen_space(space: gym.Space[Any], perception: Perception) -> gym.Space[Any]:
    """The space of one world's observations, seen through a perception model."""
    features = gym.spaces.Box(-np.inf, np.inf, (perception.features,), np.float32)
    if perception.spec.key is None:
        return features
    assert isinstance(space, gym.spaces.Dict)
    return gym.spaces.Dict({**space.spaces, perception.spec.key: features})


@torch.no_grad()
def look(perception: Perception, part: Any) -> Any:
    """Features (B, n) of a batch of what the model reads; NumPy in, NumPy out, torch in, torch out."""
    if isinstance(part, Tensor):
        return perception(part)
    device = next((parameter.device for parameter in perception.parameters()), torch.device("cpu"))
    return perception(torch.as_tensor(np.ascontiguousarray(part), device=device)).numpy(force=True)
