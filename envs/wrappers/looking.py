"""Observations that are looked at rather than told: how single and batched environments get them, at the right moment.

A view is of the world as it is now. So under SAME_STEP autoreset, where a step ends an episode and begins the next one, the last
view of the old episode must be had before the reset. The batched wrapper therefore has the environment within leave ended worlds
as they are (DISABLED), looks, and resets them itself; to the outside it is SAME_STEP as before, with `final_obs` as a full array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from mprl.errors import SettingError

Views = dict[str, NDArray[Any]]


class Look(Protocol):
    """Something that sees worlds.

    Attributes:
        spaces: of what it sees in one world, by name.
    """

    spaces: dict[str, gym.Space[Any]]

    def seed(self, seed: int | Sequence[int] | None) -> None:
        """Begin its random numbers anew; None: go on with them."""

    def begin(self, worlds: NDArray[np.int64]) -> None:
        """These worlds have begun an episode."""

    def look(self, worlds: NDArray[np.int64]) -> Views:
        """What these worlds look like now, (n, ...) by name, in arrays of its own."""

    def close(self) -> None:
        """Free what it holds."""


def joined_space(spaces: Mapping[str, gym.Space[Any]], state: gym.Space[Any] | None) -> gym.Space[Any]:
    """One view alone is the observation itself, more are a `Dict`; so is a view beside the state.

    Args:
        spaces: of the views.
        state: the space of the environment's own observation, to be kept; None: it is left out. A `Dict` keeps its names.

    Raises:
        SettingError: a name that is there already.
    """
    if state is None:
        return next(iter(spaces.values())) if len(spaces) == 1 else gym.spaces.Dict(dict(spaces))
    old = dict(state.spaces) if isinstance(state, gym.spaces.Dict) else {"state": state}
    twice = sorted(set(old) & set(spaces))
    if twice:
        raise SettingError(f"the observation has a '{twice[0]}' already; give the new one another name with key= or prefix=")
    return gym.spaces.Dict({**old, **spaces})


def joined(views: Mapping[str, Any], state: Any, keep: bool) -> Any:
    """Observations as in `joined_space`."""
    if not keep:
        return next(iter(views.values())) if len(views) == 1 else dict(views)
    return {**state, **views} if isinstance(state, Mapping) else {"state": state, **views}


class LookObservation(gym.Wrapper[Any, Any, Any, Any]):
    """A single environment observed by a `Look`; `state`: keep its own observation too."""

    def __init__(self, env: gym.Env[Any, Any], look: Look, state: bool) -> None:
        super().__init__(env)
        self._look, self._keep = look, state
        self._world = np.zeros(1, np.int64)
        self.observation_space = joined_space(look.spaces, env.observation_space if state else None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._look.seed(seed)
        self._look.begin(self._world)
        return self._seen(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: Any) -> Any:
        return joined({name: view[0] for name, view in self._look.look(self._world).items()}, observation, self._keep)

    def close(self) -> None:
        self._look.close()
        super().close()


class LookVectorObservation(VectorWrapper[Any, Any, Any, Any, Any]):
    """A batched environment observed by a `Look`; `state`: keep its own observations too.

    Where an episode ended under SAME_STEP, `info` has `final_obs`, full arrays of what every world's step led to, and the mask
    `_final_obs`. Views are tensors on the environment's device where its `output` is "torch".
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], look: Look, state: bool) -> None:
        super().__init__(env)
        self._look, self._keep = look, state
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if self._mode == AutoresetMode.SAME_STEP:
            _leave_ended(env, self)
            self.metadata = {**env.metadata, "autoreset_mode": self._mode}
        self.single_observation_space = joined_space(look.spaces, env.single_observation_space if state else None)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._all = np.arange(self.num_envs)
        self._ended = np.zeros(self.num_envs, bool)
        self._views: Views = {}
        inner: Any = env.unwrapped
        self._device = inner.device if getattr(inner, "output", "numpy") == "torch" else None

    def set_autoreset_mode(self, mode: AutoresetMode) -> None:
        """Reset ended worlds in the same step, in the next one, or not; for a wrapper around this one. The next call must be `reset`."""
        if self._mode != AutoresetMode.SAME_STEP or mode != AutoresetMode.DISABLED:
            raise SettingError(f"choose autoreset mode {mode.name} when the environment is made")
        self._mode = mode
        self.metadata = dict(self.env.metadata)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        mask = None if options is None else options.get("reset_mask")
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._look.seed([int(one or 0) for one in seed] if isinstance(seed, Sequence) else int(seed))
        begun = self._all if mask is None else np.flatnonzero(as_array(mask))
        self._ended[begun] = False
        return self._seen(observation, self._afresh(begun)), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        ended = as_array(terminated | truncated)
        if self._mode == AutoresetMode.NEXT_STEP and self._ended.any():
            self._look.begin(np.flatnonzero(self._ended))
        self._ended = ended
        self._views = self._look.look(self._all)
        if self._mode == AutoresetMode.SAME_STEP and ended.any():
            # a copy: the environment may write the next observation into the same array
            info = {**info, "final_obs": self._seen(_copied(observation), self._views), "_final_obs": terminated | truncated}
            observation, _ = self.env.reset(options={"reset_mask": ended})
            self._views = self._afresh(np.flatnonzero(ended))
        return self._seen(observation, self._views), reward, terminated, truncated, info

    def _afresh(self, begun: NDArray[np.int64]) -> Views:
        """All views, those of worlds that have begun an episode looked at anew."""
        self._look.begin(begun)
        fresh = self._look.look(begun)
        if len(begun) < self.num_envs:
            whole = {name: view.copy() for name, view in self._views.items()}
            for name, view in fresh.items():
                whole[name][begun] = view
            fresh = whole
        self._views = fresh
        return fresh

    def _seen(self, observation: Any, views: Views) -> Any:
        if self._device is None:
            return joined(views, observation, self._keep)
        return joined({name: torch.as_tensor(view, device=self._device) for name, view in views.items()}, observation, self._keep)

    def close_extras(self, **kwargs: Any) -> None:
        self._look.close()
        super().close_extras(**kwargs)

    def close(self, **kwargs: Any) -> None:
        self._look.close()
        super().close(**kwargs)


def _leave_ended(env: Any, wrapper: Any) -> None:
    """Have a batch leave its ended worlds as they are."""
    if callable(getattr(env, "set_autoreset_mode", None)):
        env.set_autoreset_mode(AutoresetMode.DISABLED)
    elif type(env) is SyncVectorEnv:
        env.autoreset_mode = AutoresetMode.DISABLED
        env.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.DISABLED}
    else:
        raise SettingError(
            f"{type(env).__name__} resets worlds before {type(wrapper).__name__} can see their end: put the wrapper directly around"
            " the batch, make it with another autoreset_mode, or give make_vec the wrapper of single environments with wrappers="
        )


def as_array(value: Any) -> NDArray[Any]:
    """An array or tensor of any device as an array."""
    return value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_copied(part) for part in value)
    return value.clone() if isinstance(value, Tensor) else np.array(value)
