"""The CPU back end: `mujoco.batch.Batch`, many simulations on one thread pool, bit-identical at any number of threads.

MuJoCo resets a world that diverges to `qpos0` by itself and goes on as if nothing had happened; the only trace is a warning
counter, so its change is what `diverged` watches.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from mprl import torchrun
from mprl.errors import SettingError

_log = logging.getLogger("mprl")

_VELOCITY = int(mujoco.mjtStage.mjSTAGE_VEL)
_NONE = int(mujoco.mjtStage.mjSTAGE_NONE)
_BAD = [int(w) for w in (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)]
_COUNT = 1  # of mjWarningStat (last info, number)
_PREFIX = "mprl_contact_"
# What only a step's last stage computes. `Batch` leaves another world's values there after a call that stops before it.
_ACCELERATION = frozenset(
    ("qacc", "qacc_smooth", "act_dot", "actuator_force", "qfrc_actuator", "qfrc_constraint", "qfrc_smooth", "cacc", "cfrc_int", "cfrc_ext")
)


def watch_contacts(spec: mujoco.MjSpec) -> mujoco.MjSpec:
    """Give every body of a model a sensor that tells whether it touches the world (the floor, terrain); `contacts` needs them."""
    for body in spec.bodies[1:]:
        spec.add_sensor(
            name=_PREFIX + body.name,
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            objname=body.name,
            reftype=mujoco.mjtObj.mjOBJ_BODY,
            refname="world",
            intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND), 0, 1],
        )
    return spec


class CpuSimulation:
    """`mprl.simulation.interface.Simulation` on the CPU.

    Args:
        model: compiled from a spec that went through `watch_contacts`, if `contacts` is to be used.
        num_worlds: how many.
        num_threads: of the pool; 0 for all cores, or this process's share of them under torchrun. Results do not depend on it.
    """

    def __init__(self, model: mujoco.MjModel, num_worlds: int, num_threads: int = 0) -> None:
        if num_worlds < 1:
            raise SettingError(f"num_envs must be at least 1, found {num_worlds}")
        if num_threads < 0:
            raise SettingError(f"num_threads must be at least 1, or 0 for all cores, found {num_threads}")
        self.model = model
        self.num_worlds = num_worlds
        self.device = torch.device("cpu")
        self._batch = Batch(model, num_worlds, num_threads or torchrun.threads())
        self._qpos, self._qvel, self._force = (self._batch.bind(name) for name in ("qpos", "qvel", "xfrc_applied"))
        self._sensors = self._batch.bind("sensordata") if model.nsensordata else np.zeros((num_worlds, 0))
        addresses = [
            int(model.sensor_adr[model.sensor(_PREFIX + model.body(b).name).id]) if self._has_contact_sensor(b) else -1
            for b in range(model.nbody)
        ]
        self._contact_address = np.array(addresses)
        self._touched = np.zeros((num_worlds, model.nsensordata), dtype=bool)
        self._diverged = np.zeros(num_worlds, dtype=bool)
        self._unreported = 0
        self.troubles: Counter[str] = Counter()
        self._history = np.empty((0, 0, 0))
        self._kept: dict[str, np.ndarray] = {}
        if (model.sensor_needstage > _VELOCITY).any():
            raise ValueError("the model has sensors of forces or accelerations: bind the fields that they read instead")
        self._batch.forward(stage=_VELOCITY)

    def _has_contact_sensor(self, body: int) -> bool:
        return mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SENSOR, _PREFIX + self.model.body(body).name) >= 0

    @property
    def diverged(self) -> Tensor:
        return torch.from_numpy(self._diverged)

    def bind(self, field: str) -> Tensor:
        array = self._batch.bind(field)
        if field in _ACCELERATION:
            return torch.from_numpy(self._kept.setdefault(field, np.zeros_like(array)))
        if array.flags.writeable:
            return torch.from_numpy(array)
        with warnings.catch_warnings():  # torch has no read-only tensors; nobody here writes to an output
            warnings.simplefilter("ignore")
            view = torch.from_numpy(array)
        self._batch.forward(stage=_VELOCITY)  # a field is zero until the first call after its binding
        return view

    def step(self, substeps: int) -> None:
        before = self._batch.warning[:, _BAD, _COUNT].sum(axis=1)
        # What the sensors tell after a substep is what the state before it touches: from the second on, and after the last
        # stages, that covers every state reached here.
        touched = self._record(substeps)
        for field, kept in self._kept.items():
            kept[:] = self._batch.bind(field)
        self._batch.forward(stage=_VELOCITY)
        np.greater(self._sensors, 0, out=self._touched)
        if touched is not None:
            self._touched |= touched
        self._diverged[:] = self._batch.warning[:, _BAD, _COUNT].sum(axis=1) > before
        self._unreported += int(np.count_nonzero(self._diverged))

    def _record(self, substeps: int) -> np.ndarray | None:
        """Advance, and tell which sensors were positive after any substep but the first, (worlds, sensors)."""
        if not self.model.nsensordata:
            self._batch.step(nstep=substeps, stage=_NONE)
            return None
        shape = (self.num_worlds, substeps, self.model.nsensordata)
        if self._history.shape != shape:
            self._history = np.empty(shape)
        self._batch.rollout(substeps, record=("sensordata",), out={"sensordata": self._history})
        return np.asarray((self._history[:, 1:] > 0).any(axis=1))

    def forward(self) -> None:
        self._batch.forward(stage=_VELOCITY)

    def reset(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        ids = np.flatnonzero(mask.numpy())
        if not len(ids):
            return
        self._batch.reset(ids, stage=_NONE)
        self._qpos[ids] = qpos[ids].numpy()
        self._qvel[ids] = qvel[ids].numpy()
        self._batch.forward(ids, stage=_VELOCITY)
        self._touched[ids] = False
        self._diverged[ids] = False
        for kept in self._kept.values():
            kept[ids] = 0.0

    def state(self) -> Tensor:
        return torch.from_numpy(self._batch.state.copy())

    def set_state(self, state: Tensor) -> None:
        self._batch.state[:] = state.numpy()
        self._touched[:] = False
        self._diverged[:] = False
        for kept in self._kept.values():
            kept[:] = 0.0
        self._batch.forward(stage=_VELOCITY)

    def expand(self, field: str) -> Tensor:
        return torch.from_numpy(self._batch.expand(field))

    def set_constants(self) -> None:
        self._batch.set_const()
        self._batch.forward(stage=_VELOCITY)

    def apply_force(self, body: int, force: Tensor) -> None:
        self._force[:, body, :3] = force.numpy()

    def contacts(self, bodies: Sequence[int]) -> Tensor:
        addresses = self._contact_address[list(bodies)]
        if (addresses < 0).any():
            raise ValueError("the model has no contact sensors: compile it from a spec that went through watch_contacts")
        return torch.from_numpy(self._touched[:, addresses])

    def ray(self, origin: Tensor, direction: Tensor, **options: Any) -> Tensor:
        distance, *_ = self._batch.ray(origin.numpy(), direction.numpy(), **options)
        return torch.from_numpy(distance)

    def check(self) -> Counter[str]:
        found = Counter(diverged=self._unreported)
        self._unreported = 0
        self.troubles += found
        if found["diverged"]:
            _log.warning("the physics of %d worlds diverged; the environment resets such worlds", found["diverged"])
        return found
