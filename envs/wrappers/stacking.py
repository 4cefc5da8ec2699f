"""The last observations in one, so that a memory-free agent sees what moves.

Gymnasium's `FrameStackObservation` puts the frames along a new first axis, stacks the state beside an image as well, and has no batched
form. Here images stay images, (H, W, k C), oldest frame first, as convolutions take them, and vectors become histories, (T, n), as
`mprl.perception.histories` takes them (`histories.py`); a batch has the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from torch import Tensor

from mprl.envs.wrappers.looking import as_array
from mprl.errors import SettingError, number, unknown_name


@dataclass(frozen=True)
class Form:
    """What is stacked and how.

    Attributes:
        count: what their number is called.
        what: they are, in an error.
        axes: of one of them.
        new_axis: they go along an axis of its own before the last one, in float32; otherwise along the last one as they are.
    """

    count: str
    what: str
    axes: int
    new_axis: bool

    @property
    def axis(self) -> int:
        """Along which they are joined, once they are `made`."""
        return -2 if self.new_axis else -1

    def fits(self, space: gym.Space[Any]) -> bool:
        return isinstance(space, gym.spaces.Box) and len(space.shape) == self.axes

    def made(self, part: Any) -> Any:
        """One observation, or a batch of them, as a stack of one."""
        if not self.new_axis:
            return part
        return part.float().unsqueeze(-2) if isinstance(part, Tensor) else np.asarray(part, np.float32)[..., None, :]

    def joined(self, parts: list[Any]) -> Any:
        """A new array or tensor; every stack is its own, so that no observation that was given away changes."""
        return torch.cat(parts, dim=self.axis) if isinstance(parts[0], Tensor) else np.concatenate(parts, axis=self.axis)

    def pushed(self, stack: Any, part: Any) -> Any:
        """Without the oldest one, and with a new one."""
        size = part.shape[self.axis]
        return self.joined([stack[..., size:, :] if self.new_axis else stack[..., size:], part])


IMAGES = Form("frames", "frames to stack must be images of shape (height, width, channels)", 3, new_axis=False)


class Stack(gym.Wrapper[Any, Any, Any, Any]):
    """The last observations of a single environment in one, oldest first; an episode begins with its first one, repeated.

    Args:
        env: observations are of the form, or a `Dict` with some that are.
        count: how many.
        form: of them.
        keys: which entries of a `Dict` to stack; by default all of the form.

    Raises:
        SettingError: nothing of the form, or a count below one.
        UnknownNameError: no such entry.
    """

    def __init__(self, env: gym.Env[Any, Any], count: int, form: Form, keys: Sequence[str] | None = None) -> None:
        super().__init__(env)
        self._form, self._count = form, number(form.count, count, 1, whole=True)
        self._keys = _entries(env.observation_space, keys, form)
        self.observation_space = _stacked_space(env.observation_space, self._keys, form, self._count)
        self._stack: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._stack = _repeated(_parts(observation, self._keys, self._form), self._form, self._count)
        return _with(observation, self._stack), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._stack = _pushed(self._stack, _parts(observation, self._keys, self._form), self._form)
        return _with(observation, self._stack), reward, terminated, truncated, info


class StackVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """The last observations of each world in one, oldest first; an episode begins with its first one, repeated.

    `final_obs` under SAME_STEP holds the last ones of the episode that ended, as full arrays.

    Args:
        env: observations are of the form in each world, or a `Dict` with some that are.
        count, form, keys: see `Stack`.

    Raises:
        SettingError, UnknownNameError: see `Stack`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], count: int, form: Form, keys: Sequence[str] | None = None) -> None:
        super().__init__(env)
        self._form, self._count = form, number(form.count, count, 1, whole=True)
        self._keys = _entries(env.single_observation_space, keys, form)
        self.single_observation_space = _stacked_space(env.single_observation_space, self._keys, form, self._count)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._stack: dict[str, Any] = {}
        self._ended = np.zeros(self.num_envs, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        mask = None if options is None else options.get("reset_mask")
        observation, info = self.env.reset(seed=seed, options=options)
        begun = np.ones(self.num_envs, bool) if mask is None else as_array(mask).copy()
        self._begin(self._read(observation), begun)
        return _with(observation, self._stack), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        parts = self._read(observation)
        begun, self._ended = self._ended, as_array(terminated | truncated).copy()
        if self._mode == AutoresetMode.SAME_STEP and "final_obs" in info:
            begun = as_array(info["_final_obs"])
            last = _filled(observation, info["final_obs"], begun)
            info = {**info, "final_obs": _with(last, _pushed(self._stack, self._read(last), self._form))}
        elif self._mode != AutoresetMode.NEXT_STEP:
            begun = np.zeros(self.num_envs, bool)
        self._stack = _pushed(self._stack, parts, self._form)
        if begun.any():
            self._begin(parts, begun)
        return _with(observation, self._stack), reward, terminated, truncated, info

    def _read(self, observation: Any) -> dict[str, Any]:
        return _parts(observation, self._keys, self._form)

    def _begin(self, parts: dict[str, Any], begun: np.ndarray) -> None:
        fresh = _repeated(parts, self._form, self._count)
        if begun.all():
            self._stack = fresh
        else:
            self._stack = {key: _chosen(begun, fresh[key], stack) for key, stack in self._stack.items()}
        self._ended = self._ended & ~begun


class FrameStack(Stack):
    """The last k images of a single environment in one, (H, W, k C), oldest first; an episode begins with k times its first.

    Args:
        env: observations are an image (H, W, C), or a `Dict` with some.
        frames: k.
        keys: which entries of a `Dict` to stack; by default every image.

    Raises:
        SettingError: no image, or frames below one.
        UnknownNameError: no such entry.
    """

    def __init__(self, env: gym.Env[Any, Any], frames: int, keys: Sequence[str] | None = None) -> None:
        super().__init__(env, frames, IMAGES, keys)


class FrameStackVector(StackVector):
    """The last k images of each world in one, (W, H, W, k C), oldest first; an episode begins with k times its first.

    `final_obs` under SAME_STEP holds the last k images of the episode that ended, as full arrays.

    Args:
        env: observations are images, (W, H, W, C), or a `Dict` with some.
        frames, keys: see `FrameStack`.

    Raises:
        SettingError, UnknownNameError: see `FrameStack`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], frames: int, keys: Sequence[str] | None = None) -> None:
        super().__init__(env, frames, IMAGES, keys)


_ONLY = ""  # the name of an observation that is itself what is stacked


def _entries(space: gym.Space[Any], keys: Sequence[str] | None, form: Form) -> tuple[str, ...]:
    """Names of what is to be stacked."""
    if isinstance(space, gym.spaces.Dict):
        for key in keys or ():
            if key not in space.spaces:
                raise unknown_name("observation", key, space.spaces, f"known: {', '.join(space.spaces)}")
        found = [key for key, part in space.spaces.items() if (form.fits(part) if keys is None else key in keys)]
        wrong = [key for key in found if not form.fits(space.spaces[key])]
    else:
        found, wrong = [_ONLY], [] if form.fits(space) else [str(space)[:60]]
    if wrong or not found:
        raise SettingError(f"{form.what}, found {wrong[0] if wrong else space}")
    return tuple(found)


def _stacked_space(space: Any, keys: tuple[str, ...], form: Form, count: int) -> gym.Space[Any]:
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({k: _stacked_space(part, (_ONLY,), form, count) if k in keys else part for k, part in space.spaces.items()})
    low, high = (form.joined([form.made(bound)] * count) for bound in (space.low, space.high))
    return gym.spaces.Box(low, high, dtype=low.dtype.type)


def _parts(observation: Any, keys: tuple[str, ...], form: Form) -> dict[str, Any]:
    """What is stacked of an observation, by name, each as a stack of one."""
    parts = {_ONLY: observation} if keys == (_ONLY,) else {key: observation[key] for key in keys}
    return {key: form.made(part) for key, part in parts.items()}


def _with(observation: Any, stack: dict[str, Any]) -> Any:
    return stack[_ONLY] if isinstance(observation, np.ndarray | Tensor) else {**observation, **stack}


def _repeated(parts: Mapping[str, Any], form: Form, count: int) -> dict[str, Any]:
    return {key: form.joined([part] * count) for key, part in parts.items()}


def _pushed(stack: Mapping[str, Any], parts: Mapping[str, Any], form: Form) -> dict[str, Any]:
    return {key: form.pushed(stack[key], part) for key, part in parts.items()}


def _chosen(mask: np.ndarray, one: Any, other: Any) -> Any:
    if isinstance(one, Tensor):
        return torch.where(torch.as_tensor(mask, device=one.device).view(-1, *[1] * (one.ndim - 1)), one, other)
    return np.where(mask.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def _filled(observation: Any, final: Any, ended: np.ndarray) -> Any:
    """What each world's step led to, in full arrays: Gymnasium's own batches tell it of the ended worlds only, in a list with holes."""
    if not (isinstance(final, np.ndarray) and final.dtype == object):
        return final
    worlds = np.flatnonzero(ended)
    if isinstance(observation, Mapping):
        return {key: _put(value, worlds, [final[world][key] for world in worlds]) for key, value in observation.items()}
    return _put(observation, worlds, [final[world] for world in worlds])


def _put(values: Any, worlds: np.ndarray, lasts: list[Any]) -> Any:
    filled = np.array(values)
    filled[worlds] = np.stack(lasts)
    return filled
