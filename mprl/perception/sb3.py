"""A perception model inside an agent of Stable-Baselines3.

PPO("MultiInputPolicy", env, policy_kwargs=sb3_policy_kwargs(model))
"""

from __future__ import annotations

import copy
from typing import Any, Self

import gymnasium as gym
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from mprl.perception.plug import Perception, check_perception
from mprl.perception.spec import part_of


def sb3_policy_kwargs(perception: Perception) -> dict[str, Any]:
    """`policy_kwargs` with which a Stable-Baselines3 agent sees through a model; add its other settings to them.

    Stable-Baselines3 hands pictures over as they are: preprocessing is the model's.

    Raises:
        PerceptionError: this is no model.
    """
    check_perception(perception)
    return {
        "features_extractor_class": PerceptionExtractor,
        "features_extractor_kwargs": {"perception": perception},
        "normalize_images": False,
    }


class PerceptionExtractor(BaseFeaturesExtractor):
    """Features of one part of the observation, beside the numbers of all others in order of their keys.

    Args:
        observation_space: Stable-Baselines3's, in which pictures may be channel-first.
        perception: the model. An extractor learns on a copy of its own; a frozen model is shared by all, and no part of the
            policy's parameters: Stable-Baselines3 gives those to the optimiser, one and all.
    """

    def __init__(self, observation_space: gym.Space[Any], perception: Perception) -> None:
        key = perception.spec.key
        part = part_of(observation_space, key)
        others: dict[str, gym.Space[Any]] = {}
        if isinstance(observation_space, gym.spaces.Dict):
            others = {name: space for name, space in observation_space.spaces.items() if name != key}
        super().__init__(observation_space, perception.features + sum(int(gym.spaces.flatdim(space)) for space in others.values()))
        self._others = tuple(others)
        self._turned = part.shape != perception.spec.shape and part.shape == perception.spec.input_shape  # channels first
        if self._turned:
            perception.spec.check_type(part)
        else:
            perception.spec.check(observation_space)
        self._frozen: tuple[Perception, ...] = (perception,) if perception.spec.frozen else ()  # in a tuple it is not registered
        self._learning = None if perception.spec.frozen else copy.deepcopy(perception)

    @property
    def perception(self) -> Perception:
        """The model in use."""
        return self._frozen[0] if self._learning is None else self._learning

    def forward(self, observations: Any) -> Tensor:
        key = self.perception.spec.key
        part = observations if key is None else observations[key]
        features = self.perception.perceive(part.permute(0, 2, 3, 1) if self._turned else part)
        if not self._others:
            return features
        return torch.cat([features, *(observations[name].flatten(1).float() for name in self._others)], dim=1)

    def apply(self, fn: Any) -> Self:
        """Nothing: Stable-Baselines3's on-policy agents would draw the model's weights anew (`ortho_init`)."""
        return self

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        """To another device, the frozen model too."""
        for model in self._frozen:
            model._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)
