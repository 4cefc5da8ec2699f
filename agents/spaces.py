"""Observations of any supported space as flat float vectors, and actions as the environment wants them.

A flat vector is a Box's numbers, the one-hot code of a Discrete's, those of a MultiDiscrete side by side, a MultiBinary's bits, and
for a Dict or Tuple, nested or not, the vectors of its parts side by side, in the space's own order.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from torch import Tensor, nn

from mprl.agents.descriptions import in_words
from mprl.errors import SettingError
from mprl.nn import distributions

ACTIONS = (Discrete, MultiDiscrete, MultiBinary, Box)
_LEARN = {Discrete: "dqn, a2c or ppo", MultiDiscrete: "a2c or ppo", MultiBinary: "a2c or ppo", Box: "ppo, a2c or sac"}


# --- observations -----------------------------------------------------------------------------------------------------------


def size(space: gym.Space[Any]) -> int:
    """Length of the flat vector.

    Raises:
        SettingError: the space is none of those that have one.
    """
    if isinstance(space, Box | MultiBinary):
        return math.prod(space.shape)
    if isinstance(space, Discrete):
        return int(space.n)
    if isinstance(space, MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, Dict | Tuple):
        return sum(size(part) for _, part in _parts(space))
    raise _unsupported(space)


def flatten(space: gym.Space[Any], observation: Any, device: torch.device | str = "cpu") -> Tensor:
    """A batch of observations, as a vector environment gives them, as (W, n) float32 on a device; shares their memory where it can."""
    if isinstance(space, Box | MultiBinary):
        tensor = torch.as_tensor(observation, device=device)
        if tensor.dtype != torch.float32:
            tensor = tensor.float()
        return tensor if tensor.ndim == 2 else tensor.reshape(len(tensor), -1)
    if isinstance(space, Discrete):
        return _one_hot(torch.as_tensor(observation, device=device).reshape(-1, 1).long() - int(space.start), int(space.n))
    if isinstance(space, MultiDiscrete):
        # the columns where each number's code begins, less the number that the code begins with
        shift = torch.as_tensor(space.nvec.flatten().cumsum() - space.nvec.flatten() - space.start.flatten(), device=device)
        tensor = torch.as_tensor(observation, device=device)
        return _one_hot(tensor.reshape(len(tensor), -1).long() + shift, int(space.nvec.sum()))
    if isinstance(space, Dict | Tuple):
        return torch.cat([flatten(part, observation[key], device) for key, part in _parts(space)], dim=-1)
    raise _unsupported(space)


def batched(space: gym.Space[Any], observation: Any) -> tuple[Any, bool]:
    """An observation or a batch of them as a batch, and whether it was a single one.

    Raises:
        SettingError: neither.
    """
    if isinstance(space, Dict | Tuple):
        found = {}
        for key, part in _parts(space):
            try:
                value = observation[key]
            except (LookupError, TypeError):
                raise SettingError(f"expected an observation with a part {key!r}, as in {in_words(space)}") from None
            found[key] = batched(part, value)
        singles = {single for _, single in found.values()}
        if len(singles) > 1:
            raise SettingError("some parts of the observation are single ones, others batches")
        return {key: rows for key, (rows, _) in found.items()}, singles == {True}
    array = observation if isinstance(observation, Tensor) else np.asarray(observation)
    shape = space.shape or ()
    if tuple(array.shape) == shape:
        return array[None], True
    if array.ndim != len(shape) + 1 or tuple(array.shape[1:]) != shape:
        raise SettingError(f"expected an observation of shape {shape} or a batch of them, found {tuple(array.shape)}")
    return array, False


def _unsupported(space: gym.Space[Any]) -> SettingError:
    return SettingError(
        f"observations must be a Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these, found {in_words(space)}; "
        f"make them one with gymnasium.wrappers.TransformObservation"
    )


def _parts(space: Dict | Tuple) -> list[tuple[Any, gym.Space[Any]]]:
    """The parts of a Dict or Tuple by key or place, in order."""
    return list(space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces))


def _one_hot(columns: Tensor, width: int) -> Tensor:
    """Ones in the given columns of each row, (W, k) -> (W, width)."""
    return torch.zeros(len(columns), width, device=columns.device).scatter_(1, columns, 1.0)


# --- actions ----------------------------------------------------------------------------------------------------------------


def require_actions(space: gym.Space[Any], supported: tuple[type[gym.Space[Any]], ...], agent_name: str) -> None:
    """Raise a `SettingError` unless an algorithm can act in this space: "dqn needs Discrete actions, found Box(...); use ppo or sac".

    What is drawn from a distribution over the reals is not in a Box of whole numbers.
    """
    if isinstance(space, Box) and not np.issubdtype(space.dtype, np.floating):
        raise SettingError(f"{agent_name} takes no Box of whole numbers for actions, found {in_words(space)}; make it MultiDiscrete")
    if isinstance(space, supported):
        return
    names = [kind.__name__ for kind in supported]
    wanted = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    other = next((f"use {agents}" for kind, agents in _LEARN.items() if isinstance(space, kind)), "make them one of these with a wrapper")
    raise SettingError(f"{agent_name} needs {wanted} actions, found {in_words(space)}; {other}")


def policy_outputs(space: gym.Space[Any]) -> int:
    """How many numbers a policy network gives for this space of actions."""
    return size(space)


def distribution(space: gym.Space[Any], output: Tensor, log_std: Tensor | None = None) -> distributions.Distribution:
    """The distribution of actions that a policy network's output (..., `policy_outputs(space)`) stands for.

    Args:
        space: of the actions.
        output: means in a Box, logits elsewhere.
        log_std: of a Box, (n,) or (..., n).
    """
    if isinstance(space, Discrete):
        return distributions.Categorical(output)
    if isinstance(space, MultiDiscrete):
        return distributions.MultiCategorical(output, tuple(space.nvec.flatten().tolist()))
    if isinstance(space, MultiBinary):
        return distributions.Bernoulli(output)
    assert isinstance(space, Box) and log_std is not None
    return distributions.DiagonalGaussian(output, log_std)


def mode(space: gym.Space[Any], output: Tensor) -> Tensor:
    """The likeliest action of that distribution."""
    return output if isinstance(space, Box) else distribution(space, output).mode()


class ToEnvironment(nn.Module):
    """From an agent's actions (W, ...) to the environment's.

    In a Box with finite bounds the agent's range is [-1, 1], and what lies outside is clipped to it; other Boxes are taken as they are.
    Discrete actions are counted from 0 by the agent and from `start` by the environment.
    """

    centre: Tensor | None
    half_width: Tensor | None
    start: Tensor | None

    def __init__(self, space: gym.Space[Any]) -> None:
        super().__init__()
        require_actions(space, ACTIONS, "this agent")
        self.shape = tuple(space.shape or ())
        centre = half_width = start = None
        if isinstance(space, Box) and np.isfinite(space.low).all() and np.isfinite(space.high).all():
            low, high = (torch.as_tensor(bound, dtype=torch.float32).flatten() for bound in (space.low, space.high))
            centre, half_width = 0.5 * (low + high), 0.5 * (high - low)
        if isinstance(space, Discrete | MultiDiscrete) and np.any(space.start):
            start = torch.as_tensor(np.asarray(space.start), dtype=torch.int64).flatten()
        for name, value in (("centre", centre), ("half_width", half_width), ("start", start)):
            self.register_buffer(name, value, persistent=False)

    def forward(self, action: Tensor) -> Tensor:
        if self.centre is not None and self.half_width is not None:
            action = self.centre + self.half_width * action.clamp(-1.0, 1.0)
        if self.start is not None:
            action = action + self.start
        return action.reshape(action.shape[:1] + self.shape)
