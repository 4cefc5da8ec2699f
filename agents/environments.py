"""Any Gymnasium environment as a batch of torch worlds with one meaning of "ended".

Gymnasium has three autoreset modes. Under NEXT_STEP the step after an episode's end is no step at all (it only resets); under
SAME_STEP the observation that comes with the end already belongs to the next episode and the last one is in `info`. `TorchBatch`
hides the difference: every step says what was seen last in each world, and whether it was a step at all.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from torch import Tensor

from mprl.errors import SettingError


class Step(NamedTuple):
    """One step of W worlds.

    Attributes:
        observation: to act on next, (W, n).
        reward: (W,) float32. terminated, truncated: (W,) bool.
        valid: False where the step only reset a world, (W,) bool.
        final_observation: rows of the ended worlds are what their episode saw last, (W, n); None where no other row than
            `observation`'s is needed.
        info: the environment's arrays of W numbers, as tensors.
    """

    observation: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor
    final_observation: Tensor | None
    info: dict[str, Tensor]


class TorchBatch:
    """A vector environment (a single one is wrapped into a batch of one), in and out of torch.

    Args:
        env: observations in a Box (flattened) or Discrete (one-hot); actions in a Box or Discrete.
        device: of the tensors.
    """

    def __init__(self, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], device: torch.device | str = "cpu") -> None:
        check_environment(env)
        self.unwrapped = env.unwrapped
        single: Any = None
        if not isinstance(env.unwrapped, VectorEnv):
            single = env
            env = SyncVectorEnv([lambda: single], autoreset_mode=AutoresetMode.SAME_STEP)
        self.env: VectorEnv[Any, Any, Any] = env
        self.device = torch.device(device)
        self.num_worlds = self.env.num_envs
        self.mode = self.env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if self.mode == AutoresetMode.DISABLED:
            raise SettingError("agents need an environment that resets itself; make it with autoreset_mode NEXT_STEP or SAME_STEP")
        observation, action = self.env.single_observation_space, self.env.single_action_space
        if isinstance(observation, gym.spaces.Box):
            self.observation_size = int(np.prod(observation.shape))
        elif isinstance(observation, gym.spaces.Discrete):
            self.observation_size = int(observation.n)
        else:
            raise SettingError(f"observations must be a Box or Discrete, found {type(observation).__name__}; flatten them with a wrapper")
        if not isinstance(action, gym.spaces.Box | gym.spaces.Discrete):
            raise SettingError(f"actions must be a Box or Discrete, found {type(action).__name__}")
        self._ended = torch.zeros(self.num_worlds, dtype=torch.bool, device=self.device)
        self._stateful = _stateful(single if single is not None else env)

    def reset(self, seed: int | None = None) -> Tensor:
        """First observations, (W, n)."""
        observation, _ = self.env.reset(seed=seed)
        self._ended = torch.zeros_like(self._ended)
        return self.observation(observation)

    @property
    def has_state(self) -> bool:
        """Whether the environment can be saved and go on: it has `get_state()` and `set_state(state)`, and no wrapper hides more."""
        return self._stateful is not None

    def get_state(self) -> dict[str, Tensor]:
        """Everything that the future of all worlds depends on.

        Raises:
            SettingError: the environment's `get_state` does not give a flat dict of tensors or arrays.
        """
        state = self._stateful.get_state()
        if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor | np.ndarray) for k, v in state.items()):
            raise SettingError(f"{type(self._stateful).__name__}.get_state() must give a dict of tensors or NumPy arrays by name")
        return {"ended": self._ended, **{f"env.{key}": torch.as_tensor(value) for key, value in state.items()}}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `get_state` returned."""
        own = self._stateful.get_state()
        self.env.reset()  # Gymnasium's wrappers do not step before a reset
        tensors = {key: state[f"env.{key}"] for key in own}
        self._stateful.set_state({k: v.numpy() if isinstance(own[k], np.ndarray) else v.to(own[k].device) for k, v in tensors.items()})
        self._ended = state["ended"].to(self.device)

    def step(self, action: Tensor) -> Step:
        """Act in all worlds; `action` is in the environment's own units."""
        raw = action if getattr(self.env.unwrapped, "output", "numpy") == "torch" else action.cpu().numpy()
        observation, reward, terminated, truncated, info = self.env.step(raw)
        terminated, truncated = self._flags(terminated), self._flags(truncated)
        ended = terminated | truncated
        final = None
        if self.mode == AutoresetMode.SAME_STEP:
            valid = torch.ones_like(ended)
            if "final_obs" in info:
                final = self._final(info["final_obs"], info["_final_obs"])
        else:
            valid, self._ended = ~self._ended, ended
        reward = torch.as_tensor(reward, device=self.device).float()
        tensors = {
            key: torch.as_tensor(value, device=self.device)
            for key, value in info.items()
            if _is_number_per_world(value, self.num_worlds) and key[0] != "_" and key != "final_obs"
        }
        return Step(self.observation(observation), reward, terminated, truncated, valid, final, tensors)

    def observation(self, observation: Any) -> Tensor:
        """The environment's observations as (W, n) float32, of any number of worlds."""
        tensor = torch.as_tensor(observation, device=self.device)
        space = self.env.single_observation_space
        if isinstance(space, gym.spaces.Discrete):
            return torch.nn.functional.one_hot(tensor.long() - int(space.start), self.observation_size).float()
        return tensor.float().reshape(len(tensor), -1)

    def _flags(self, values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.bool, device=self.device)

    def _final(self, final: Any, mask: Any) -> Tensor:
        if isinstance(final, np.ndarray) and final.dtype == object:  # Gymnasium's own vector environments: a list with holes
            ended = np.flatnonzero(mask)
            filled = torch.zeros(self.num_worlds, self.observation_size, device=self.device)
            filled[ended] = self.observation(np.stack([final[world] for world in ended]))
            return filled
        return self.observation(final)


def _stateful(env: Any) -> Any:
    """What has `get_state` and `set_state`, below the wrappers that have no state of their own; None if there is nothing such."""
    while isinstance(env, OrderEnforcing | PassiveEnvChecker):
        env = env.env
    return env if hasattr(env, "get_state") and hasattr(env, "set_state") else None


def check_environment(env: Any) -> None:
    """Raise a `SettingError` unless this is a Gymnasium environment, single or vector."""
    if not isinstance(env, gym.Env | VectorEnv):
        found = f"'{env}'" if isinstance(env, str) else env.__name__ if isinstance(env, type) else type(env).__name__
        raise SettingError(f"expected a Gymnasium environment (of gym.make or gym.make_vec), found {found}")


def check_seed(seed: Any) -> None:
    """Raise a `SettingError` unless this is a seed that torch, NumPy and Gymnasium all take."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
        raise SettingError(f"seed must be a whole number from 0 to 2^63 - 1, found {seed!r}")


def _is_number_per_world(value: Any, num_worlds: int) -> bool:
    if isinstance(value, Tensor):
        return value.shape == (num_worlds,)
    return isinstance(value, np.ndarray) and value.shape == (num_worlds,) and value.dtype.kind in "fiub"
