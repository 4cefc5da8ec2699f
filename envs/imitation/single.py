"""One world of a batched environment behind `gym.make`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from torch import Tensor

from mprl.envs.imitation.metrics import Policy
from mprl.errors import ActionError


class SingleWorld(gym.Env[Any, np.ndarray]):
    """One world of a batched environment, with Gymnasium's single-environment interface.

    A subclass names the batched one as `Batch`; arguments are the same, less `num_envs`, `output` and `autoreset_mode`.
    """

    Batch: ClassVar[type[Any]]

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        settings.setdefault("num_threads", 1)
        self.batch = self.Batch(1, output="numpy", autoreset_mode=AutoresetMode.DISABLED, render_mode=render_mode, **settings)
        self.render_mode = render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        observation, info = self.batch.reset(seed=seed, options=options)
        return _first(observation), {key: value[0].item() for key, value in info.items()}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        action = np.asarray(action, dtype=np.float32)
        if action.shape != self.action_space.shape:
            raise ActionError(f"expected an action of shape {self.action_space.shape}, found {action.shape}")
        observation, reward, terminated, truncated, info = self.batch.step(action[None])
        info = {key: value[0].item() for key, value in info.items()}
        return _first(observation), float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> np.ndarray | None:
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        self.batch.close()

    def get_state(self) -> dict[str, Tensor]:
        """Everything that the future depends on."""
        return self.batch.get_state()

    def set_state(self, state: dict[str, Tensor]) -> Any:
        """Continue from what `get_state` returned; returns the observation."""
        return _first(self.batch.set_state(state))

    def evaluate(self, policy: Policy, episodes: int = 32, seed: int = 0, video: str | Path | None = None) -> dict[str, Any]:
        """See the batched environment's `evaluate`."""
        return self.batch.evaluate(policy, episodes, seed, video)


def _first(observation: Any) -> Any:
    """The one world's observation of a batch."""
    return {name: value[0] for name, value in observation.items()} if isinstance(observation, dict) else observation[0]
