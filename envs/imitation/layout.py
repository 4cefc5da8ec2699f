"""Where a character's parts lie in the simulation's fields: the model that is simulated, and how its state is read."""

from __future__ import annotations

from typing import Any, NamedTuple

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.envs.imitation import observations
from mprl.envs.imitation.ground import Ground
from mprl.envs.imitation.rewards import Motion, joint_weights
from mprl.envs.imitation.terrain import GROUND_GROUP, Terrain
from mprl.motion import Reference
from mprl.motion import rotations as rot
from mprl.motion.characters.character import Character
from mprl.simulation.interface import Simulation

PHYSICS_RATE = 120
CONTROL_RATE = 30
# rad/s up to which an actuator can make up for its joint's damping
SPEED_RANGE = 15.0


class State(NamedTuple):
    """The simulation's state in float32, read once a step: qpos in parts, qvel, body origins, sensors; levelled (`ground.Ground`)."""

    root_position: Tensor  # (W, 3)
    rotations: Tensor  # (W, 1 + balls, 4)
    hinges: Tensor  # (W, hinges)
    velocity: Tensor  # (W, nv)
    bodies: Tensor  # (W, B, 3)
    com: Tensor  # (W, 3)
    com_velocity: Tensor  # (W, 3)

    def of(self, worlds: slice | Tensor) -> State:
        """Of all worlds, or of those at some indices."""
        return self if isinstance(worlds, slice) else State(*(value[worlds] for value in self))


def simulated(character: Character, terrain: Terrain | None = None) -> mujoco.MjSpec:
    """The character's model with what the environment asks of it: its rate, terrain, sensors of the centre of mass, room in its limits."""
    spec = character.spec()
    if terrain is not None:
        terrain.put_into(spec)
    for geom in spec.worldbody.geoms:
        geom.group = GROUND_GROUP
    spec.option.timestep = 1.0 / PHYSICS_RATE
    limits = character.model.actuator_forcerange[:, 1]
    dampings = character.damping_lag * character.model.actuator_gainprm[:, 0]
    for actuator, limit, damping in zip(spec.actuators, limits, dampings, strict=True):
        # the limit on the whole torque, damping included, is kept by `DeepMimicVectorEnv._within_torque_limits`
        actuator.forcerange = [-limit - SPEED_RANGE * damping, limit + SPEED_RANGE * damping]
    root = character.body_names[0]
    spec.add_sensor(name="com", type=mujoco.mjtSensor.mjSENS_SUBTREECOM, objtype=mujoco.mjtObj.mjOBJ_BODY, objname=root)
    spec.add_sensor(name="com_velocity", type=mujoco.mjtSensor.mjSENS_SUBTREELINVEL, objtype=mujoco.mjtObj.mjOBJ_BODY, objname=root)
    return spec


class Layout:
    """Indices and constants of a character in a simulation, as tensors on its device.

    Args:
        character: who is simulated.
        simulation: of `simulated(character)`.
        may_touch: which bodies may touch the ground in each clip, (clips, B) bool.
        ground: below them.

    Attributes:
        balls, hinges: where the root's and the ball joints' quaternions (flat) and the hinges' angles lie in qpos.
        end_effectors: hands and feet, indices of bodies. key_bodies: these and the head.
        fall_bodies: MuJoCo's numbers of the bodies that must not touch the ground in some clip. falls: which of them, (clips, F) bool.
        joint_weights: of the errors. reach: how far beyond its angle each actuator may aim at rest, (nu,) rad.
        lag: damping / kp, (nu,) s.
    """

    def __init__(self, character: Character, simulation: Simulation, may_touch: NDArray[np.bool_], ground: Ground) -> None:
        model, device = simulation.model, simulation.device
        self._ground = ground
        index = {name: i for i, name in enumerate(character.body_names)}

        def as_index(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=torch.long, device=device)

        self.balls, self.hinges = as_index(character.ball_qpos.flatten()), as_index(character.hinge_qpos)
        self.end_effectors = as_index([index[name] for name in (*character.hands, *character.feet)])
        self.head = index[character.head]
        self.key_bodies = as_index([index[name] for name in (*character.hands, *character.feet, character.head)])
        watched = np.flatnonzero(~may_touch.all(axis=0))
        self.fall_bodies = (watched + 1).tolist()
        self.falls = torch.as_tensor(~may_touch[:, watched], device=device)
        self._com, self._com_velocity = (
            slice(int(model.sensor(s).adr[0]), int(model.sensor(s).adr[0]) + 3) for s in ("com", "com_velocity")
        )
        dofs = tuple(model.joint(int(joint)).name for joint in model.dof_jntid[6:])
        weights = joint_weights(character.joint_weights, character.body_names[0], character.ball_joints, character.hinge_joints, dofs)
        self.joint_weights = type(weights)(*(w.to(device) for w in weights))
        as_float: dict[str, Any] = {"dtype": torch.float32, "device": device}
        self.reach = torch.as_tensor(character.model.actuator_forcerange[:, 1] / character.model.actuator_gainprm[:, 0], **as_float)
        self.lag = torch.as_tensor(character.damping_lag, **as_float)
        self._qpos, self._qvel, self._xpos, self._sensors = (simulation.bind(field) for field in ("qpos", "qvel", "xpos", "sensordata"))

    def read(self, worlds: slice | Tensor) -> State:
        """The state of all worlds, or of those at some indices: a copy of what the simulation goes on to change."""
        copy: dict[str, Any] = {"dtype": torch.float32, "copy": True}
        qpos, sensors = self._qpos[worlds].to(**copy), self._sensors[worlds].to(**copy)
        velocity, bodies = self._qvel[worlds].to(**copy), self._xpos[worlds, 1:].to(**copy)
        com, com_velocity = sensors[:, self._com], sensors[:, self._com_velocity]
        if not self._ground.flat:  # heights are told above the guide, vertical speeds along it
            height, gradient = self._ground.guide(qpos)
            climb = (gradient * velocity[:, :2]).sum(dim=-1)
            for value, less in ((qpos, height), (com, height), (velocity, climb), (com_velocity, climb)):
                value[:, 2] -= less
            bodies[..., 2] -= height.unsqueeze(-1)
        rotations = qpos.index_select(1, self.balls).unflatten(1, (-1, 4))
        return State(qpos[:, :3], rotations, qpos.index_select(1, self.hinges), velocity, bodies, com, com_velocity)

    def disturbed(self, qpos: Tensor, noise: Tensor, random: torch.Generator) -> Tensor:
        """Positions (W, nq) with joints turned by normal noise of a standard deviation for each world, (W,) rad."""
        qpos = qpos.clone()
        balls = self.balls.view(-1, 4)[1:]
        normal: dict[str, Any] = {"generator": random, "dtype": qpos.dtype, "device": qpos.device}
        turn = torch.randn(len(qpos), len(balls), 3, **normal) * noise[:, None, None]
        qpos[:, balls] = rot.multiply(qpos[:, balls], rot.from_rotation_vector(turn))
        qpos[:, self.hinges] += noise[:, None] * torch.randn(len(qpos), len(self.hinges), **normal)
        return qpos

    def motion(self, state: State) -> Motion:
        """What rewards compare, of the characters."""
        return self._motion(*state)

    def motion_of(self, reference: Reference) -> Motion:
        """What rewards compare, of the reference."""
        r = reference
        return self._motion(r.root_position, r.rotations, r.hinges, r.qvel, r.body_position, r.com, r.com_velocity)

    def _motion(
        self, root: Tensor, rotations: Tensor, hinges: Tensor, velocity: Tensor, bodies: Tensor, com: Tensor, com_velocity: Tensor
    ) -> Motion:
        end_effectors = bodies.index_select(1, self.end_effectors)
        local = observations.local_end_effectors(root, observations.heading_of(rotations[:, 0]), end_effectors)
        return Motion(root, rotations, hinges, velocity, end_effectors, local, bodies[:, self.head], com, com_velocity)
