"""Which back end simulates: MuJoCo's thread pool on a CPU, mujoco_warp on a GPU."""

from __future__ import annotations

import mujoco
import torch

from mprl.errors import SettingError, unknown_name
from mprl.simulation.cpu import CpuSimulation, watch_contacts
from mprl.simulation.interface import Simulation

BACKENDS = ("auto", "mujoco", "warp")


def make_simulation(spec: mujoco.MjSpec, num_worlds: int, device: torch.device, backend: str = "auto", num_threads: int = 0) -> Simulation:
    """Many worlds of a model, on a device.

    Args:
        spec: the model, uncompiled: the CPU's back end adds the sensors that `contacts` needs.
        backend: "mujoco", "warp" (on a CPU only for tests: it is slow there), or "auto": by the device.
        num_threads: of the CPU's back end; 0 for all cores.

    Raises:
        UnknownNameError, SettingError: a back end that is not known, or not for this device.
        DeviceError: mujoco_warp is needed and not installed.
    """
    if backend not in BACKENDS:
        raise unknown_name("back end", str(backend), BACKENDS, f"known: {', '.join(BACKENDS)}")
    if backend == "mujoco" and device.type != "cpu":
        raise SettingError(f"backend 'mujoco' simulates on the CPU, and the device is {device}; use backend='warp'")
    if backend == "warp" or device.type != "cpu":
        from mprl.simulation.gpu import WarpSimulation

        return WarpSimulation(spec.compile(), num_worlds, device)
    return CpuSimulation(watch_contacts(spec).compile(), num_worlds, num_threads)
