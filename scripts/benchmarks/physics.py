"""What nothing can be faster than: the same physics, on the same states, without an environment around it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mujoco
import torch
from mujoco.batch import Batch
from torch import Tensor

from mprl.envs.imitation.deepmimic import CONTROL_RATE, PHYSICS_RATE, DeepMimicVectorEnv

SUBSTEPS = PHYSICS_RATE // CONTROL_RATE
PLAIN = int(mujoco.mjtStage.mjSTAGE_NONE)
CURRENT = int(mujoco.mjtStage.mjSTAGE_VEL)  # positions and velocities of bodies, sensors: of the new state


@dataclass(frozen=True)
class Window:
    """Some control steps of a policy.

    Attributes:
        start: of the environment, as `get_state` gives it.
        actions: of each step, (T, W, nu).
        states: of the simulation before the physics of each step, its controls included, (T, W, n).
        end: of the simulation after the last step, (W, n).
    """

    start: dict[str, Tensor]
    actions: Tensor
    states: Tensor
    end: Tensor


def record(envs: DeepMimicVectorEnv, observation: Tensor, act: Callable[[Tensor], Tensor], steps: int) -> Window:
    """Play a policy for some steps and keep what the physics was given."""
    simulation, states, actions = envs.simulation, [], []
    start, physics = envs.get_state(), simulation.step

    def watched(substeps: int) -> None:
        states.append(simulation.state())
        physics(substeps)

    simulation.step = watched  # type: ignore[method-assign]
    try:
        for _ in range(steps):
            actions.append(act(observation).clone())
            observation = envs.step(actions[-1])[0]
    finally:
        del simulation.step  # the class's own again
    return Window(start, torch.stack(actions), torch.stack(states), simulation.state())


def replay(envs: DeepMimicVectorEnv, window: Window) -> float:
    """Control steps/s, over all worlds, of an environment that goes through a window again."""
    envs.set_state(window.start)
    began = time.perf_counter()
    for action in window.actions:
        envs.step(action)
    elapsed = time.perf_counter() - began
    if not torch.equal(envs.simulation.state(), window.end):
        raise RuntimeError("the environment did not repeat what was recorded: the rates would compare different work")
    return window.actions.shape[0] * window.actions.shape[1] / elapsed


class BarePhysics:
    """`mujoco.batch.Batch` with nothing bound.

    Args:
        model: the environment's own.
        num_worlds, threads: as the environment has.
    """

    def __init__(self, model: mujoco.MjModel, num_worlds: int, threads: int) -> None:
        self.batch = Batch(model, num_worlds, threads)

    def replay(self, states: Tensor, stage: int = PLAIN) -> float:
        """Control steps/s, over all worlds, from recorded states (T, W, n). Putting them there is not timed.

        Args:
            stage: what is computed at the new state of each control step; nothing, by default.
        """
        elapsed = 0.0
        for state in states.numpy():
            self.batch.state[:] = state
            began = time.perf_counter()
            self.batch.step(nstep=SUBSTEPS, stage=stage)
            elapsed += time.perf_counter() - began
        return states.shape[0] * states.shape[1] / elapsed


def single_world(model: mujoco.MjModel, states: Tensor, seconds: float) -> float:
    """Physics substeps/s of `mj_step` on one world's recorded states (T, n)."""
    data = mujoco.MjData(model)
    signature = int(mujoco.mjtState.mjSTATE_INTEGRATION)
    elapsed, steps = 0.0, 0
    while elapsed < seconds:
        mujoco.mj_setState(model, data, states[steps % len(states)].numpy(), signature)
        began = time.perf_counter()
        mujoco.mj_step(model, data, SUBSTEPS)
        elapsed += time.perf_counter() - began
        steps += 1
    return steps * SUBSTEPS / elapsed


def make(motion: Any, num_envs: int, threads: int, **settings: Any) -> Any:
    """The environment that is measured: a batch, torch output."""
    from mprl.scripts import environments

    return environments.make("mprl/DeepMimic-v0", num_envs, motion=motion, num_threads=threads, **settings)
