"""The last frames in one observation, so that a memory-free agent sees what moves.

Gymnasium's `FrameStackObservation` puts the frames along a new first axis, stacks the state beside an image as well, and has no batched
form. Here images stay images, (H, W, k C), oldest frame first, as convolutions take them; a batch has the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from torch import Tensor

from mprl.envs.wrappers.looking import as_array
from mprl.errors import SettingError, number, unknown_name


class FrameStack(gym.Wrapper[Any, Any, Any, Any]):
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
        super().__init__(env)
        self._frames = number("frames", frames, 1, whole=True)
        self._keys = _images(env.observation_space, keys)
        self.observation_space = _stacked_space(env.observation_space, self._keys, self._frames)
        self._stack: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._stack = _repeated(_parts(observation, self._keys), self._frames)
        return _with(observation, self._stack), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._stack = _pushed(self._stack, _parts(observation, self._keys))
        return _with(observation, self._stack), reward, terminated, truncated, info


class FrameStackVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """The last k images of each world in one, (W, H, W, k C), oldest first; an episode begins with k times its first.

    `final_obs` under SAME_STEP holds the last k images of the episode that ended, as full arrays.

    Args:
        env: observations are images, (W, H, W, C), or a `Dict` with some.
        frames, keys: see `FrameStack`.

    Raises:
        SettingError, UnknownNameError: see `FrameStack`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], frames: int, keys: Sequence[str] | None = None) -> None:
        super().__init__(env)
        self._frames = number("frames", frames, 1, whole=True)
        self._keys = _images(env.single_observation_space, keys)
        self.single_observation_space = _stacked_space(env.single_observation_space, self._keys, self._frames)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._stack: dict[str, Any] = {}
        self._ended = np.zeros(self.num_envs, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        mask = None if options is None else options.get("reset_mask")
        observation, info = self.env.reset(seed=seed, options=options)
        begun = np.ones(self.num_envs, bool) if mask is None else as_array(mask).copy()
        self._begin(observation, begun)
        return _with(observation, self._stack), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(actions)
        parts = _parts(observation, self._keys)
        begun, self._ended = self._ended, as_array(terminated | truncated).copy()
        if self._mode == AutoresetMode.SAME_STEP and "final_obs" in info:
            begun = as_array(info["_final_obs"])
            last = _filled(observation, info["final_obs"], begun)
            info = {**info, "final_obs": _with(last, _pushed(self._stack, _parts(last, self._keys)))}
        elif self._mode != AutoresetMode.NEXT_STEP:
            begun = np.zeros(self.num_envs, bool)
        self._stack = _pushed(self._stack, parts)
        if begun.any():
            self._begin(observation, begun)
        return _with(observation, self._stack), reward, terminated, truncated, info

    def _begin(self, observation: Any, begun: np.ndarray) -> None:
        fresh = _repeated(_parts(observation, self._keys), self._frames)
        if begun.all():
            self._stack = fresh
        else:
            self._stack = {key: _chosen(begun, fresh[key], stack) for key, stack in self._stack.items()}
        self._ended = self._ended & ~begun


_ONLY = ""  # the name of an observation that is an image itself


def _images(space: gym.Space[Any], keys: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the images to be stacked."""
    if isinstance(space, gym.spaces.Dict):
        for key in keys or ():
            if key not in space.spaces:
                raise unknown_name("observation", key, space.spaces, f"known: {', '.join(space.spaces)}")
        found = [key for key, part in space.spaces.items() if (_is_image(part) if keys is None else key in keys)]
        wrong = [key for key in found if not _is_image(space.spaces[key])]
    else:
        found, wrong = [_ONLY], [] if _is_image(space) else [str(space)[:60]]
    if wrong or not found:
        raise SettingError(f"frames to stack must be images of shape (height, width, channels), found {wrong[0] if wrong else space}")
    return tuple(found)


def _is_image(space: gym.Space[Any]) -> bool:
    return isinstance(space, gym.spaces.Box) and len(space.shape) == 3


def _stacked_space(space: Any, keys: tuple[str, ...], frames: int) -> gym.Space[Any]:
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({k: _stacked_space(part, (_ONLY,), frames) if k in keys else part for k, part in space.spaces.items()})
    low, high = (np.concatenate([bound] * frames, axis=-1) for bound in (space.low, space.high))
    return gym.spaces.Box(low, high, dtype=space.dtype)


def _parts(observation: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    return {_ONLY: observation} if keys == (_ONLY,) else {key: observation[key] for key in keys}


def _with(observation: Any, stack: dict[str, Any]) -> Any:
    return stack[_ONLY] if isinstance(observation, np.ndarray | Tensor) else {**observation, **stack}


def _joined(images: list[Any]) -> Any:
    """A new array or tensor; every stack is its own, so that no observation that was given away changes."""
    return torch.cat(images, dim=-1) if isinstance(images[0], Tensor) else np.concatenate(images, axis=-1)


def _repeated(parts: Mapping[str, Any], frames: int) -> dict[str, Any]:
    return {key: _joined([image] * frames) for key, image in parts.items()}


def _pushed(stack: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _joined([stack[key][..., image.shape[-1] :], image]) for key, image in parts.items()}


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
