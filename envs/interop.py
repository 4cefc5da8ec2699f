"""Our vector environments for Stable-Baselines3, which knows neither Gymnasium's vector environments nor their autoreset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from mprl.errors import SettingError


def to_sb3(envs: gym.vector.VectorEnv[Any, Any, Any]) -> VecEnv:
    """Hand a Gymnasium vector environment to Stable-Baselines3 as one `VecEnv`, without a process or a copy per world.

        PPO("MlpPolicy", to_sb3(gym.make_vec("mprl/DeepMimic-v0", num_envs=64, autoreset_mode="SAME_STEP")))

    A truncated episode stays one: its `infos[i]` have `TimeLimit.truncated` and `terminal_observation`, from which
    Stable-Baselines3 bootstraps. `infos[i]` is empty for worlds whose episode goes on.

    Args:
        envs: one that resets in the same step. Ours are switched to that.

    Raises:
        SettingError: another kind of environment, or one that resets otherwise.
    """
    inside = getattr(envs, "unwrapped", envs)
    if not isinstance(inside, gym.vector.VectorEnv):
        raise SettingError(f"to_sb3 takes a vector environment (gym.make_vec), found {type(inside).__name__}; SB3 takes single ones as is")
    mode = getattr(inside, "set_autoreset_mode", None)
    if mode is not None:
        mode(AutoresetMode.SAME_STEP)
    if envs.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
        raise SettingError("to_sb3 needs an environment that resets in the same step; make it with autoreset_mode=AutoresetMode.SAME_STEP")
    return _SB3VecEnv(envs)


class _SB3VecEnv(VecEnv):
    def __init__(self, envs: gym.vector.VectorEnv[Any, Any, Any]) -> None:
        self.envs = envs
        self.render_mode = envs.render_mode
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self._return = np.zeros(self.num_envs)
        self._length = np.zeros(self.num_envs, dtype=int)

    def reset(self) -> Any:
        # SB3 keeps a seed for each world and gives them in a row; ours needs one
        seed = self._seeds[0] if self._seeds else None
        observation, _ = self.envs.reset(seed=seed, options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        self._return[:], self._length[:] = 0.0, 0
        return _array(observation)

    def set_options(self, options: Any = None) -> None:
        if isinstance(options, list):
            raise SettingError("to_sb3 takes one dict of reset options for all worlds; values in it may have one entry per world")
        super().set_options(options)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        step = self.envs.step(self._actions)
        observation, reward, terminated, truncated = (_array(value) for value in step[:4])
        info = step[4]
        ended = terminated | truncated
        self._return += reward
        self._length += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended.any():
            final = info["final_obs"]
            for world in np.flatnonzero(ended):
                infos[world] = {
                    "terminal_observation": _array(final, world),
                    "TimeLimit.truncated": bool(truncated[world] and not terminated[world]),
                    "episode": {"r": float(self._return[world]), "l": int(self._length[world]), "t": 0.0},
                }
            self._return[ended], self._length[ended] = 0.0, 0
        return observation, reward.astype(np.float32), ended, infos

    def close(self) -> None:
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        frames: Any = self.envs.render()
        return list(frames or [])

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.envs.unwrapped, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self.envs.unwrapped, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return [getattr(self.envs.unwrapped, method_name)(*args, **kwargs)] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


def _array(value: Any, world: Any = ...) -> Any:
    """NumPy's array of a batch or of one world of it; of a dictionary, of each of its parts."""
    if isinstance(value, dict):
        return {name: _array(part, world) for name, part in value.items()}
    value = value[world]
    return value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)
