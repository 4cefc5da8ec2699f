"""Many worlds of one model, stepped together: what a back end offers.

The environments are written against this and run on every back end. All tensors are batched over worlds in dimension 0, on
`device`; no call loops over worlds in Python.

    simulation = CpuSimulation(model, num_worlds=1024)
    qpos, control = simulation.bind("qpos"), simulation.bind("ctrl")
    control.copy_(targets)
    simulation.step(4)            # qpos, and every other bound field, is current
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import mujoco
import torch
from torch import Tensor


class Simulation(Protocol):
    """The interface. Fields are named as in MuJoCo's mjData and mjModel."""

    model: mujoco.MjModel
    num_worlds: int
    device: torch.device
    troubles: Counter[str]  # what `check` has found since the simulation was made

    @property
    def diverged(self) -> Tensor:
        """Worlds whose physics broke down in the last `step`, (worlds,) bool.

        Positions, velocities or accelerations were not finite or beyond 1e10, or contacts were lost because a buffer was full.
        Such a world is at rest in the model's own pose now: what it was doing is lost, so end its episode.
        """
        ...

    def bind(self, field: str) -> Tensor:
        """A live view of a state or derived field, (worlds, ...): float64 on the CPU, float32 on a GPU.

        State fields (qpos, qvel, ctrl, xfrc_applied, ...) may be written; the write counts from the next call. Derived fields
        (xpos, sensordata, ...) are current after every call. Forces and accelerations (actuator_force, qacc, ...) are those of
        the last substep, and zero before the first and after a reset. Views stay valid as long as the simulation lives.
        """
        ...

    def step(self, substeps: int) -> None:
        """Advance all worlds by `substeps` time steps of the model."""
        ...

    def forward(self) -> None:
        """Compute the derived fields of the present state."""
        ...

    def reset(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """Put the masked worlds into new states; the others are bitwise untouched.

        Args:
            mask: (worlds,) bool.
            qpos, qvel: full-size rows, (worlds, nq) and (worlds, nv); only the masked ones are read.
        """
        ...

    def state(self) -> Tensor:
        """A copy of everything that the future depends on, (worlds, size)."""
        ...

    def set_state(self, state: Tensor) -> None:
        """Continue from what `state` returned, bit for bit on the CPU."""
        ...

    def expand(self, field: str) -> Tensor:
        """Per-world values of a model field, (worlds, ...), writable. After a change of masses or sizes call `set_constants`."""
        ...

    def set_constants(self) -> None:
        """Recompute what MuJoCo derives from the model's fields; without it a new mass may have no effect at all."""
        ...

    def apply_force(self, body: int, force: Tensor) -> None:
        """Push a body with a force at its centre of mass, (worlds, 3) N in the world's frame, until called again or reset."""
        ...

    def contacts(self, bodies: Sequence[int]) -> Tensor:
        """Which bodies touched the world in any state that the last `step` reached, its last one included, (worlds, bodies) bool."""
        ...

    def ray(self, origin: Tensor, direction: Tensor, **options: Any) -> Tensor:
        """Distance along each ray to the first geom, (worlds, rays) m; -1 where it hits nothing. Inputs (worlds, rays, 3)."""
        ...

    def check(self) -> Counter[str]:
        """Log and count what went wrong since the last call; no other call waits for a GPU, so call it now and then.

        Returns:
            `diverged`: worlds that did. On a GPU also `overflowed`: steps of a world that a buffer was too small for; buffers have
            grown now. `iteration_limited`: steps of a world in which the constraint solver stopped at its limit, which is harmless.
        """
        ...
