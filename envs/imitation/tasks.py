"""What is asked of a character beside imitation: the goal slot of the paper, r = w^I r^I + w^G r^G (Peng et al. 2018, section 5).

A task owns its goal as tensors over all worlds. The environment tells it when worlds begin an episode and after every control
step, asks it for the goal's reward and for what a policy has to see of the goal, and keeps its tensors in its own state.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.envs.imitation import observations
from mprl.envs.imitation.steering import Steering
from mprl.simulation.rendering import Marker

GOAL_WEIGHT = 0.3


class Scene(NamedTuple):
    """What tasks see of the worlds after a control step, or of a fresh episode.

    Attributes:
        root_position: of the characters, (W, 3) m. direction: (cos, sin) of their yaw, (W, 2). bodies: origins, (W, B, 3) m.
        com_velocity: of the centre of mass, (W, 3) m/s.
        clip: (W,). phase: of the clip, (W,) in [0, 1). cycle: how many cycles are completed, (W,). offset: how far the reference has
            been moved, (W, 3) m.
    """

    root_position: Tensor
    direction: Tensor
    bodies: Tensor
    com_velocity: Tensor
    clip: Tensor
    phase: Tensor
    cycle: Tensor
    offset: Tensor

    def seen(self, points: Tensor) -> Tensor:
        """World positions (W, 3) relative to the root, in the heading frame."""
        return observations.to_heading_frame((points - self.root_position).unsqueeze(1), self.direction)[:, 0]


class Task(Protocol):
    """A goal in every world. All tensors are batched over worlds in dimension 0; no call waits for the device.

    Attributes:
        weight: w^G; imitation weighs 1 - w^G.
    """

    weight: float

    @property
    def size(self) -> int:
        """How many numbers `observe` gives."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Which entries of `info` an evaluation keeps, beside the goal's reward."""
        ...

    @property
    def steering(self) -> Steering | None:
        """How the reference follows the goal; None where it does not."""
        ...

    def reset(self, mask: Tensor, scene: Scene, random: torch.Generator) -> None:
        """Choose a goal for the masked worlds; random numbers are drawn for all worlds, so that none depends on another."""
        ...

    def reward(self, scene: Scene) -> Tensor:
        """r^G of the control step that led here, (W,) in [0, 1]."""
        ...

    def advance(self, scene: Scene, random: torch.Generator) -> None:
        """Let the goal change, after its reward was earned."""
        ...

    def observe(self, scene: Scene) -> Tensor:
        """The goal in the heading frame, (W, size)."""
        ...

    def info(self, scene: Scene) -> dict[str, Tensor]:
        """How well the goal is met, (W,) each."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The tensors that the future depends on; written to in place to continue from another state."""
        ...

    def summarise(self, columns: dict[str, NDArray[Any]], alive: NDArray[np.bool_], clip: NDArray[np.int64]) -> dict[str, float]:
        """Metrics of an evaluation, from `columns` and `reward_goal`, (E, T) each, at steps that are `alive`, and clip ids (E,)."""
        ...

    def markers(self, scene: Scene, world: int) -> list[Marker]:
        """The goal of a world in a picture."""
        ...
