"""Any Gymnasium environment as a batch of torch worlds with one meaning of "ended".

Gymnasium has three autoreset modes. Under NEXT_STEP the step after an episode's end is no step at all (it only resets); under
SAME_STEP the observation that comes with the end already belongs to the next episode and the last one is in `info`; with DISABLED
whoever steps must reset. `Batch` hides the difference: every step says what it led to in each world, and whether it was a step at all.
"""

from __future__ import annotations

import copy
import functools
from numbers import Integral, Real
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from torch import Tensor

from mprl.agents import spaces
from mprl.agents.eyes import Eyes
from mprl.errors import SettingError


class Step(NamedTuple):
    """One step of W worlds. Arrays of a `Batch` are the environment's own, those of a `TorchBatch` are tensors.

    Attributes:
        observation: to act on next, (W, ...).
        reward: (W,). terminated, truncated: (W,) bool.
        valid: False where the step only reset a world, (W,) bool.
        final_observation: what the step led to, (W, ...): in the ended worlds the last observation of their episode; None where
            that is `observation` in every world.
        info: the environment's arrays of W numbers.
    """

    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    valid: Any
    final_observation: Any
    info: dict[str, Any]

    @property
    def successor(self) -> Any:
        """What the step led to in every world: what is bootstrapped from. Never the first observation of another episode."""
        return self.observation if self.final_observation is None else self.final_observation

    @property
    def begins(self) -> Any:
        """Where `observation` is the first of an episode, (W,) bool."""
        return ~self.valid if self.final_observation is None else self.terminated | self.truncated


class _OneWorld:
    """A single environment as a batch of one that resets itself in the same step, without the copies of `SyncVectorEnv`."""

    num_envs = 1
    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env, self.unwrapped, self.spec = env, env.unwrapped, env.spec
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return _alone(observation), info

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action[0])
        arrays = {key: np.asarray([value]) for key, value in info.items() if isinstance(value, Real | np.bool_)} if info else {}
        if terminated or truncated:
            arrays |= {"final_obs": _alone(observation), "_final_obs": np.ones(1, bool)}
            observation, _ = self.env.reset()
        return _alone(observation), np.asarray([reward], np.float64), np.asarray([terminated], bool), np.asarray([truncated], bool), arrays


class Batch:
    """Any Gymnasium environment as W worlds with one meaning of "ended", whatever its kind and autoreset mode.

    Arrays are the environment's own: NumPy, or torch where its `output` is "torch".

    Args:
        env: single (a batch of one) or vector.
        device: of the tensors, where there are any.
    """

    def __init__(self, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], device: torch.device | str = "cpu") -> None:
        check_environment(env)
        self.unwrapped: Any = env.unwrapped
        self.env: Any = env if isinstance(env.unwrapped, VectorEnv) else _OneWorld(env)
        self.device = torch.device(device)
        self.num_worlds: int = self.env.num_envs
        self.mode = self.env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.output = getattr(self.unwrapped, "output", "numpy")
        self._stateful, self._limits = _stateful(env)
        self._all = self._full(True)
        self._ended = self._full(False)

    def _full(self, value: bool) -> Any:
        if self.output == "torch":
            return torch.full((self.num_worlds,), value, device=self.device)
        return np.full(self.num_worlds, value)

    def reset(self, seed: int | None = None) -> Any:
        """First observations, (W, ...)."""
        observation, _ = self.env.reset(seed=seed)
        self._ended = self._full(False)
        return observation

    def step(self, action: Any) -> Step:
        """Act in all worlds; `action` (W, ...) is in the environment's own units."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not isinstance(info, dict):
            raise SettingError(f"expected info as a dict of arrays, found a {type(info).__name__}; leave out the wrapper DictInfoToList")
        valid, final = self._all, None
        if self.mode == AutoresetMode.SAME_STEP:
            if "final_obs" in info:
                final = _successors(observation, info["final_obs"], info["_final_obs"])
        else:
            ended = terminated | truncated
            if self.mode == AutoresetMode.NEXT_STEP:
                valid, self._ended = ~self._ended, ended
            elif ended.any():  # DISABLED
                final = copy.deepcopy(observation)  # the reset may write into the same array
                observation, _ = self.env.reset(options={"reset_mask": np.asarray(ended)})
        numbers = {
            key: value
            for key, value in info.items()
            if key[0] != "_" and key != "final_obs" and _is_number_per_world(value, self.num_worlds)
        }
        return Step(observation, reward, terminated, truncated, valid, final, numbers)

    # --- going on exactly -----------------------------------------------------------------------------------------------------

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
        own = {f"env.{key}": torch.as_tensor(value) for key, value in state.items()}
        elapsed = {"elapsed": torch.tensor([limit._elapsed_steps or 0 for limit in self._limits])} if self._limits else {}
        return {"ended": torch.as_tensor(self._ended), **elapsed, **own}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `get_state` returned."""
        own = self._stateful.get_state()
        self.env.reset()  # Gymnasium's wrappers do not step before a reset
        tensors = {key: state[f"env.{key}"] for key in own}
        self._stateful.set_state({k: v.numpy() if isinstance(own[k], np.ndarray) else v.to(own[k].device) for k, v in tensors.items()})
        for place, limit in enumerate(self._limits):
            limit._elapsed_steps = int(state["elapsed"][place])
        self._ended = state["ended"].to(self.device) if self.output == "torch" else state["ended"].numpy()

    def blank(self) -> Any:
        """An observation of the right shape and type, which says nothing."""
        space = self.env.single_observation_space
        return np.zeros((self.num_worlds, *(space.shape or ())), space.dtype)

    def from_tensor(self, observation: Tensor) -> Any:
        """An observation of this batch that went through a file as a tensor."""
        return observation.numpy()


class TorchBatch(Batch):
    """The same with flat observations, (W, n) float32, and tensors for all the rest.

    Args:
        env: observations in any space that `spaces.flatten` takes.
        device: of the tensors.
        eyes: what observations are seen through, if nothing is learned there.
    """

    def __init__(
        self, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any], device: torch.device | str = "cpu", eyes: Eyes | None = None
    ) -> None:
        super().__init__(env, device)
        space = self.env.single_observation_space
        self.eyes = eyes
        self.observation_size = spaces.size(space) if eyes is None else eyes.size
        self._shares = self.output != "torch" and space.dtype == np.float32 and not isinstance(self.env, _OneWorld)

    def reset(self, seed: int | None = None) -> Tensor:
        """First observations, (W, n)."""
        return self.observation(super().reset(seed))

    raw_step = Batch.step  # in arrays, for those who make tensors of many steps at once

    def step(self, action: Tensor) -> Step:
        """Act in all worlds; `action` is a tensor in the environment's own units."""
        return self.as_tensors(super().step(action if self.output == "torch" else action.cpu().numpy()))

    def as_tensors(self, step: Step) -> Step:
        """What `raw_step` gave, as `step` gives it."""
        tensor = functools.partial(torch.as_tensor, device=self.device)
        return Step(
            self.observation(step.observation),
            tensor(step.reward).float(),
            tensor(step.terminated),
            tensor(step.truncated),
            tensor(step.valid),
            None if step.final_observation is None else self.observation(step.final_observation),
            {key: tensor(value) for key, value in step.info.items()},
        )

    def observation(self, observation: Any) -> Tensor:
        """The environment's observations as (W, n) float32, of any number of worlds."""
        flat = spaces.flatten(self.env.single_observation_space, observation, self.device)
        if self.eyes is not None:
            return self.eyes(flat)
        return flat.clone() if self._shares else flat  # the environment may write the next ones into the same array

    def blank(self) -> Tensor:
        return torch.zeros(self.num_worlds, self.observation_size)

    def from_tensor(self, observation: Tensor) -> Tensor:
        return observation.to(self.device)


def _alone(observation: Any) -> Any:
    """The observation of a batch of one: a copy, since an environment may write the next one into the same array."""
    if isinstance(observation, dict):
        return {key: _alone(value) for key, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_alone(value) for value in observation)
    return np.array(observation)[None]


def _successors(observation: Any, final: Any, ended: Any) -> Any:
    """What each world's step led to. Gymnasium's own vector environments tell it as a list with holes, others as a full array."""
    if not (isinstance(final, np.ndarray) and final.dtype == object):
        return final
    worlds = np.flatnonzero(ended)

    def fill(values: Any, lasts: list[Any]) -> Any:
        if isinstance(values, dict):
            return {key: fill(value, [last[key] for last in lasts]) for key, value in values.items()}
        if isinstance(values, tuple):
            return tuple(fill(value, [last[i] for last in lasts]) for i, value in enumerate(values))
        filled = np.array(values)
        filled[worlds] = np.stack(lasts)
        return filled

    return fill(observation, [final[world] for world in worlds])


def _stateful(env: Any) -> tuple[Any, list[Any]]:
    """What has `get_state` and `set_state`, and the time limits around it, which count steps; None if another wrapper may hide more."""
    limits: list[Any] = []
    while isinstance(env, OrderEnforcing | PassiveEnvChecker | TimeLimit):
        if isinstance(env, TimeLimit):
            limits.append(env)
        env = env.env
    return (env if hasattr(env, "get_state") and hasattr(env, "set_state") else None), limits


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
