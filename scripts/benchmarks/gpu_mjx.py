"""MJX, MuJoCo's own simulation in JAX, on the same model and states: what those have who stay with JAX."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mprl.errors import DeviceError
from mprl.motion import HUMANOID
from mprl.scripts.benchmarks import physics
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.gpu import describe, figure, rate, sizes
from mprl.scripts.benchmarks.report import Figure


def mjx(motion: str, worlds: Sequence[int], device: torch.device, seconds: float) -> Measured:
    """Physics of ours, the checks of every world included, beside `mjx.step`, substeps jitted and worlds vectorised as one."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the GPU's memory
    try:
        import jax
        from mujoco import mjx as engine
    except ImportError as error:
        raise DeviceError(f"MJX is not installed ({error}): pip install 'mprl[mjx]' 'jax[cuda12]'") from None
    if device.type == "cuda" and jax.default_backend() != "gpu":
        raise DeviceError("JAX sees no GPU: pip install 'jax[cuda12]'")
    model = engine.put_model(HUMANOID.spec().compile())

    @jax.jit
    def step(data: Any) -> Any:
        return jax.lax.fori_loop(0, physics.SUBSTEPS, lambda _, d: jax.vmap(engine.step, in_axes=(None, 0))(model, d), data)

    figures: list[Figure] = []
    for num_envs, envs in sizes(motion, worlds, device, {}):
        envs.reset(seed=0)
        simulation = envs.simulation
        start = simulation.state()
        ours = rate(partial(simulation.step, physics.SUBSTEPS), partial(simulation.set_state, start), device, seconds) * num_envs
        simulation.set_state(start)
        qpos, qvel, ctrl = (simulation.bind(name).cpu().numpy() for name in ("qpos", "qvel", "ctrl"))
        data = jax.vmap(lambda q, v, c: engine.make_data(model).replace(qpos=q, qvel=v, ctrl=c))(qpos, qvel, ctrl)
        peer = rate(_going_on(step, data), None, torch.device("cpu"), seconds) * num_envs
        figures.append(figure(num_envs, "", "control steps/s", ours, peer=peer, against="peer mjx.step, jitted"))
    return Measured(figures, {"motion": Path(motion).name, "jax": jax.__version__, **describe(device)})


def _going_on(step: Callable[[Any], Any], data: Any) -> Callable[[], None]:
    """A step that waits for its end: JAX answers before it has computed."""
    kept = [data]

    def call() -> None:
        kept[0] = step(kept[0])
        kept[0].qpos.block_until_ready()

    return call
