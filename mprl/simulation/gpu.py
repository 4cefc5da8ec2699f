"""The GPU back end: `mujoco_warp`, all worlds in a few kernels, in float32 on the device that the agent's tensors are on.

Nothing in `step` or `reset` waits for the device: each is one graph, captured once and launched again. mujoco_warp keeps
contacts and constraints in buffers of a fixed size and drops what does not fit; it neither resets nor reports a world that
diverges. So a kernel at the end of every step judges each world, and those that broke down are put into the model's own pose, as
MuJoCo does on the CPU. `check`, called now and then, reads one small array, reports what it tells and lets buffers grow.

Warp also runs on the CPU, slowly: `device="cpu"` is for tests.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from mprl.errors import DeviceError, MprlError, SettingError
from mprl.simulation.graphs import outside
from mprl.simulation.probe import worst_states

try:
    import mujoco_warp as mjw
    import warp as wp

    from mprl.simulation import gpu_kernels as kernels
except ImportError as error:
    raise DeviceError(f"the GPU back end needs mujoco_warp ({error}): pip install mprl[gpu]") from error

if wp.config.log_level == wp.LOG_INFO:  # a line for each of a hundred kernels; a user who asked for another level keeps it
    wp.config.log_level = wp.LOG_WARNING
wp.init()

_log = logging.getLogger("mprl")

_STATE = int(mjw.State.INTEGRATION)
_Bit = mjw.OverflowType
_ROWS = int(_Bit.NEFC | _Bit.NJMAX_NNZ)
_CONTACTS = int(_Bit.BROADPHASE | _Bit.NARROWPHASE | _Bit.CCD)
_ITERATIONS = int(_Bit.ITERATIONS | _Bit.LS_ITERATIONS)
_CAPACITY = int(_Bit.ALL) & ~_ITERATIONS
# room beyond the most that was seen, by the probe or in an overflow
_MARGIN = 1.5
_PROBED = 64  # worlds
_ACCELERATION = frozenset(
    ("qacc", "qacc_smooth", "act_dot", "actuator_force", "qfrc_actuator", "qfrc_constraint", "qfrc_smooth", "cacc", "cfrc_int", "cfrc_ext")
)
# what mujoco_warp's set_const computes: as many rows as there are worlds once any field has them
_DERIVED = (
    "body_subtreemass", "geom_aabb", "geom_rbound", "dof_invweight0", "body_invweight0", "tendon_length0", "tendon_invweight0",
    "actuator_acc0",
)  # fmt: skip


class _Shared:
    """One array for Warp and for torch."""

    def __init__(self, array: Any) -> None:
        self.array, self.view = array, wp.to_torch(array)


class WarpSimulation:
    """`mprl.simulation.interface.Simulation` on a GPU.

    Args:
        model: compiled; it needs no contact sensors for `contacts`, and is faster without them.
        num_worlds: how many.
        device: "cuda", "cuda:1", ..., or "cpu" for Warp's own CPU device (slow, for tests).
        njmax: constraint rows that each world has room for.
        nconmax: contacts that each world has room for on average; the worlds share one buffer. What is not given is 1.5 times the
            most that a probe finds among bodies lying on the floor.
        deterministic: the same bits in every run on a GPU too, slower. On the CPU device they are always the same.

    Raises:
        DeviceError: mujoco_warp is not installed.
        SettingError: fewer than one world, or a model with what mujoco_warp does not offer.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        device: str | torch.device = "cuda",
        njmax: int | None = None,
        nconmax: int | None = None,
        deterministic: bool = False,
    ) -> None:
        if num_worlds < 1:
            raise SettingError(f"num_envs must be at least 1, found {num_worlds}")
        self.model = model
        self.num_worlds = num_worlds
        self.device = torch.device(device)
        self.troubles: Counter[str] = Counter()
        self._warp_device = wp.device_from_torch(self.device)
        self._graphs: dict[Any, Any] = {}
        self._streams: tuple[Any, Any] = (None, None)  # torch's current one, and the same to Warp
        self._bound: dict[str, Tensor] = {}
        self._indices: dict[tuple[int, ...], Tensor] = {}
        with self._on_device():
            try:
                self._model = mjw.put_model(model)
            except (NotImplementedError, ValueError) as error:
                raise SettingError(f"the GPU back end cannot simulate this model: {error}") from error
            self._model.opt.warn_overflow = 0  # printed by every world; `check` reports it once
            self._model.opt.deterministic = deterministic
            if njmax is None or nconmax is None:
                rows, contacts = self._probe()
                njmax, nconmax = njmax or rows, nconmax or contacts
            self._require_memory(njmax, nconmax)
            self._data = mjw.make_data(model, num_worlds, naconmax=nconmax * num_worlds, njmax=njmax)
            self._geom_bodies: Any = wp.array(model.geom_bodyid, dtype=int)
            self._touched = _Shared(wp.zeros((num_worlds, model.nbody), dtype=bool))
            self._broken = wp.zeros(num_worlds, dtype=bool)
            self._diverged = _Shared(wp.zeros(num_worlds, dtype=bool))
            self._report = _Shared(wp.zeros(6, dtype=int))
            self._mask = _Shared(wp.ones(num_worlds, dtype=bool))
            self._new_qpos, self._new_qvel = _Shared(wp.clone(self._data.qpos)), _Shared(wp.clone(self._data.qvel))
        sensors = model.sensor_type == int(mujoco.mjtSensor.mjSENS_CONTACT)
        self._senses_contacts = bool(sensors.any())
        if (model.sensor_needstage > int(mujoco.mjtStage.mjSTAGE_VEL)).any():
            raise ValueError("the model has sensors of forces or accelerations: bind the fields that they read instead")
        if self._warp_device.is_cuda:
            _log.info("preparing the GPU's kernels: minutes the first time, then they are kept in %s", wp.config.kernel_cache_dir)
            # Once without a graph, so that all kernels are there when the graphs are captured; then everything is put back.
            with self._on_device():
                self._steps(1)
                self._reset()
        self.reset(torch.ones(num_worlds, dtype=torch.bool), torch.as_tensor(model.qpos0).expand(num_worlds, -1), self.bind("qvel") * 0)
        self._report.view.zero_()

    @property
    def capacity(self) -> tuple[int, int]:
        """Constraint rows that each world has room for, and contacts on average."""
        return self._data.njmax, self._data.naconmax // self.num_worlds

    @property
    def diverged(self) -> Tensor:
        return self._diverged.view

    def bind(self, field: str) -> Tensor:
        if field not in self._bound:
            array = getattr(self._data, field, None)
            if not isinstance(array, wp.array) or array.shape[:1] != (self.num_worlds,):
                raise ValueError(f"mujoco_warp has no field '{field}' of its worlds")
            view = wp.to_torch(array)
            self._bound[field] = view.flatten(2) if view.ndim > 3 else view  # MuJoCo writes 3 x 3 matrices as 9 numbers
        return self._bound[field]

    def step(self, substeps: int) -> None:
        self._run(("step", substeps), lambda: self._steps(substeps))
        self._forget_forces(self._diverged.view)

    def forward(self) -> None:
        self._run("forward", self._derive)

    def reset(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        for shared, value in ((self._mask, mask), (self._new_qpos, qpos), (self._new_qvel, qvel)):
            shared.view.copy_(value)
        self._run("reset", self._reset)
        self._forget_forces(self._mask.view)

    def state(self) -> Tensor:
        state = torch.empty(self.num_worlds, mujoco.mj_stateSize(self.model, _STATE), device=self.device)
        with self._on_device():
            mjw.get_state(self._model, self._data, wp.from_torch(state), _STATE)
        return state

    def set_state(self, state: Tensor) -> None:
        with self._on_device():
            mjw.set_state(self._model, self._data, wp.from_torch(state.to(self.device, torch.float32).contiguous()), _STATE)
        self._touched.view.zero_()
        self._diverged.view.zero_()
        for field in _ACCELERATION & self._bound.keys():
            self._bound[field].zero_()
        self.forward()

    def expand(self, field: str) -> Tensor:
        holder, name = (self._model.opt, field[4:]) if field.startswith("opt.") else (self._model, field)
        specs = {f.name: getattr(f.type, "shape", ()) for f in dataclasses.fields(holder)}
        if specs.get(name, ())[:1] != ("*",):
            raise SettingError(f"mujoco_warp has one value of '{field}' for all worlds; it can differ between worlds on device='cpu'")
        array = getattr(holder, name)
        if array.shape[0] != self.num_worlds:
            wp.synchronize_device(self._warp_device)  # a launched graph may still read the one value
            with self._on_device():
                array = wp.array(np.repeat(array.numpy(), self.num_worlds, axis=0), dtype=array.dtype)
            setattr(holder, name, array)
            self._graphs.clear()
        return wp.to_torch(array)

    def set_constants(self) -> None:
        for name in _DERIVED:
            if getattr(self._model, name).size:
                self.expand(name)
        with self._on_device():
            mjw.set_const(self._model, self._data)
        self.forward()

    def apply_force(self, body: int, force: Tensor) -> None:
        self.bind("xfrc_applied")[:, body, :3] = force.to(self.device, torch.float32)

    def contacts(self, bodies: Sequence[int]) -> Tensor:
        key = tuple(bodies)
        if key not in self._indices:  # a list would be sent to the device at every call
            self._indices[key] = torch.tensor(key, device=self.device)
        return self._touched.view.index_select(1, self._indices[key])

    def ray(self, origin: Tensor, direction: Tensor, **options: Any) -> Tensor:
        """See the interface. Options: `geomgroup` (6 numbers, 0 leaves a group out), `flg_static`, `bodyexclude` (a body)."""
        shape = origin.shape[:2]
        vectors = [
            wp.from_torch(value.to(self.device, torch.float32).expand(*shape, 3).contiguous(), dtype=wp.vec3)
            for value in (origin, direction)
        ]
        groups = wp.types.vector(length=6, dtype=float)(*(options.get("geomgroup") or [-1] * 6))
        distance = torch.empty(shape, device=self.device)
        static = options.get("flg_static", True)

        def cast() -> None:
            with self._on_device():
                geom, normal = wp.empty(shape, dtype=int), wp.empty(shape, dtype=wp.vec3)
                exclude = wp.full(shape[1], options.get("bodyexclude", -1), dtype=int)
                mjw.rays(self._model, self._data, *vectors, groups, static, exclude, wp.from_torch(distance), geom, normal)

        outside(cast)
        return distance

    def check(self) -> Counter[str]:
        """See the interface. Buffers that overflowed grow; bound views stay what they are."""
        found = self._report.view.tolist()
        self._report.view.zero_()
        troubles = Counter(diverged=found[kernels.DIVERGED], overflowed=found[kernels.OVERFLOWED], iteration_limited=found[kernels.LIMITED])
        self.troubles += troubles
        bits = found[kernels.BITS] & _CAPACITY
        if bits & ~(_ROWS | _CONTACTS):
            names = ", ".join(bit.name for bit in _Bit if bits & ~(_ROWS | _CONTACTS) & bit and bit.name != "ALL")
            raise MprlError(f"mujoco_warp ran out of room that cannot grow ({names}); simulate this model on device='cpu'")
        if bits:
            self._grow(bits, found[kernels.ROWS], found[kernels.CONTACTS])
        if troubles["diverged"]:
            _log.warning("the physics of %d worlds diverged; the environment resets such worlds", troubles["diverged"])
        return troubles

    def bare_step(self, substeps: int) -> Callable[[], None]:
        """What nothing here can be faster than: mujoco_warp's own steps, as one graph. For benchmarks."""

        def steps() -> None:
            for _ in range(substeps):
                mjw.step(self._model, self._data)

        return lambda: self._run(("bare", substeps), steps)

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _on_device(self) -> Any:
        """Warp allocates on its current device, and launches on the stream that torch is using."""
        if self._warp_device.is_cpu:
            return wp.ScopedDevice(self._warp_device)
        return wp.ScopedStream(self._stream())

    def _stream(self) -> Any:
        current = torch.cuda.current_stream(self.device)
        if self._streams[0] != current:
            self._streams = (current, wp.stream_from_torch(current))
        return self._streams[1]

    def _run(self, name: Any, work: Callable[[], None]) -> None:
        """Launch what `work` launches as one graph, captured the first time: a step is a hundred kernels."""
        outside(lambda: self._launch(name, work))

    def _launch(self, name: Any, work: Callable[[], None]) -> None:
        if name not in self._graphs:
            # torch's default stream cannot be captured, so Warp's own is; nothing runs during a capture
            with wp.ScopedDevice(self._warp_device), wp.ScopedCapture() as capture:
                work()
            self._graphs[name] = capture.graph
        wp.capture_launch(self._graphs[name], stream=None if self._warp_device.is_cpu else self._stream())

    def _steps(self, substeps: int) -> None:
        model, data = self._model, self._data
        self._touched.array.zero_()
        wp.launch(kernels.look_before, dim=self.num_worlds, inputs=[data.qpos, data.qvel, data.ctrl, self._broken])
        for substep in range(substeps):
            mjw.step(model, data)
            wp.launch(kernels.note_sizes, dim=self.num_worlds, inputs=[data.nefc, data.nacon, data.ncollision, self._report.array])
            if substep:  # these are the contacts of the state before; the first was the last call's last
                self._note_contacts()
        wp.launch(kernels.look_after, dim=self.num_worlds, inputs=[data.qpos, data.qvel, data.qacc, self._broken])
        verdict = [self._broken, _CAPACITY, _ITERATIONS, data.overflow, self._diverged.array, self._report.array]
        wp.launch(kernels.judge, dim=self.num_worlds, inputs=verdict)
        mjw.reset_data(model, data, reset=self._diverged.array)  # as MuJoCo itself does on the CPU
        self._derive(collide=True)
        self._note_contacts()

    def _note_contacts(self) -> None:
        contact = self._data.contact
        wp.launch(
            kernels.note_contacts,
            dim=self._data.naconmax,
            inputs=[
                self._data.nacon, contact.geom, contact.dist, contact.includemargin, contact.worldid, self._geom_bodies, self._touched.array
            ],
        )  # fmt: skip

    def _derive(self, collide: bool = False) -> None:
        """The stages of a step before its forces; `step` collides first thing, so elsewhere only contact sensors need it."""
        model, data = self._model, self._data
        mjw.fwd_kinematics(model, data)
        mjw.crb(model, data)
        mjw.transmission(model, data)
        if collide or self._senses_contacts:
            mjw.collision(model, data)
        data.sensordata.zero_()
        mjw.sensor_pos(model, data)
        mjw.fwd_velocity(model, data)
        mjw.sensor_vel(model, data)

    def _reset(self) -> None:
        data = self._data
        mjw.reset_data(self._model, data, reset=self._mask.array)
        wp.launch(
            kernels.place,
            dim=self.num_worlds,
            inputs=[
                self._mask.array,
                self._new_qpos.array,
                self._new_qvel.array,
                data.qpos,
                data.qvel,
                self._touched.array,
                self._diverged.array,
            ],
        )
        self._derive()

    def _forget_forces(self, mask: Tensor) -> None:
        for field in _ACCELERATION & self._bound.keys():
            view = self._bound[field]
            view.masked_fill_(mask.view(-1, *[1] * (view.ndim - 1)), 0.0)

    def _probe(self) -> tuple[int, int]:
        """Room for bodies that lie on the floor: constraint rows and contacts of a world."""
        rows = contacts = 0
        data = mjw.make_data(self.model, _PROBED, nconmax=512, njmax=2048)
        for qpos in worst_states(self.model, _PROBED):
            wp.to_torch(data.qpos).copy_(torch.as_tensor(qpos))
            mjw.fwd_position(self._model, data)
            rows = max(rows, int(data.nefc.numpy().max()))
            contacts = max(contacts, int(data.nacon.numpy()[0]), int(data.ncollision.numpy()[0]))
        return _with_margin(rows), _with_margin(-(-contacts // _PROBED))

    def _require_memory(self, njmax: int, nconmax: int) -> None:
        """Say how many worlds fit, before Warp fails to allocate them."""
        free = _free_memory(self.device)
        if free is None:
            return
        one, two = (_bytes(mjw.make_data(self.model, count, naconmax=nconmax * count, njmax=njmax)) for count in (1, 2))
        needed, usable = one + (self.num_worlds - 1) * (two - one), 0.9 * free
        if needed > usable:
            fit = max(1, 1 + int((usable - one) / (two - one)))
            sizes = f"need {needed / 2**30:.1f} GiB on {self.device}, {free / 2**30:.1f} GiB are free"
            raise DeviceError(f"{self.num_worlds} worlds {sizes}; try --num-envs {fit}")

    def _grow(self, bits: int, rows: int, contacts: int) -> None:
        """Larger buffers; everything else of the data stays where it is, and with it the state and every bound view."""
        old = self._data
        njmax, nconmax = self.capacity
        grown = []
        if bits & _ROWS:
            njmax, before = _with_margin(max(rows, njmax)), njmax
            grown.append(f"from {before} to {njmax} constraint rows a world (njmax)")
        if bits & _CONTACTS:
            nconmax, before = _with_margin(max(-(-contacts // self.num_worlds), nconmax)), nconmax
            grown.append(f"from {before} to {nconmax} contacts a world (nconmax)")
        with self._on_device():
            new = mjw.make_data(self.model, self.num_worlds, naconmax=nconmax * self.num_worlds, njmax=njmax)
        for field in dataclasses.fields(old):
            mine, theirs = getattr(old, field.name), getattr(new, field.name)
            if isinstance(mine, wp.array) and mine.shape == theirs.shape:
                setattr(new, field.name, mine)
        self._data = new
        self._graphs.clear()
        _log.warning("the simulation's buffers were too small and grew %s; what overflowed is reset", " and ".join(grown))


def _free_memory(device: torch.device) -> int | None:
    """Bytes of a GPU that are free; None of a CPU, whose memory is another matter."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _bytes(data: Any) -> int:
    """How much the arrays of a dataclass take, those within its parts included."""
    parts = [getattr(data, field.name) for field in dataclasses.fields(data)]
    return sum(part.capacity if isinstance(part, wp.array) else _bytes(part) for part in parts if _holds(part))


def _holds(part: Any) -> bool:
    return isinstance(part, wp.array) or dataclasses.is_dataclass(part)


def _with_margin(count: int) -> int:
    return -(-int(np.ceil(_MARGIN * max(count, 1))) // 8) * 8
