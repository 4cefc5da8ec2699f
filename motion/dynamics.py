"""The joint torques that a reference motion asks for: inverse dynamics, with the floor's forces found where feet bear on it."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mprl.motion.characters.character import Character

Array = NDArray[np.float64]
_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])  # of a box, in half sizes
_SLOPES = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # edges of the friction pyramid
_NEAR = 0.005  # m: a part other than a foot that is lower touches the floor
_EFFORT = 1e-3  # weight of the contact forces against the root's leftover force


def inverse_dynamics(character: Character, qpos: Array, qvel: Array, qacc: Array, contacts: Array) -> Array:
    """The motors' torques that move the character as asked, joint damping left out, (T, nv) N m; zero for the root.

    The root has no motor: what its acceleration asks for must come from the floor. At each frame the forces at the corners of the
    bearing feet, and below round parts that touch it (hands, knees, the back), within the friction pyramid, are those that leave the
    least of it (non-negative least squares); in flight there are none, and what a recorded flight lacks in physics is left over.

    Args:
        character: whose motion.
        qpos, qvel, qacc: (T, nq), (T, nv), (T, nv), in MuJoCo's conventions.
        contacts: how much each foot bears on the floor, (T, feet) in [0, 1].
    """
    model = character.model
    data = mujoco.MjData(model)
    torques, jacobian = np.zeros((len(qpos), model.nv)), np.zeros((3, model.nv))
    feet = [(foot, int(g)) for foot, name in enumerate(character.feet) for g in np.flatnonzero(model.geom_bodyid == model.body(name).id)]
    round_geoms = _round_geoms(model, [geom for _, geom in feet])
    positions, turns, reach = data.geom_xpos, data.geom_xmat, model.geom_size[round_geoms, 0]
    capsule = model.geom_type[round_geoms] == mujoco.mjtGeom.mjGEOM_CAPSULE
    arm = np.where(capsule, model.geom_size[round_geoms, 1], 0.0)
    for t in range(len(qpos)):
        data.qpos[:], data.qvel[:], data.qacc[:] = qpos[t], qvel[t], qacc[t]
        mujoco.mj_fwdPosition(model, data)
        mujoco.mj_fwdVelocity(model, data)
        mujoco.mj_rne(model, data, 1, torques[t])
        torques[t] += model.dof_armature * qacc[t]
        edges = []
        for foot, geom in feet:
            if contacts[t, foot] < 0.5:
                continue
            friction = model.geom_friction[geom, 0]
            for point in _support(model, data, geom):
                mujoco.mj_jac(model, data, jacobian, None, point, int(model.geom_bodyid[geom]))
                edges += [jacobian[2] + friction * slope @ jacobian[:2] for slope in _SLOPES]
        lowest = positions[round_geoms, 2] - arm * np.abs(turns[round_geoms, 8]) - reach
        for geom in round_geoms[lowest < _NEAR + 1e-9]:  # few of them, so the rest is not looked at one by one
            for point in _touching(model, data, geom):
                mujoco.mj_jac(model, data, jacobian, None, point, int(model.geom_bodyid[geom]))
                edges += [jacobian[2] + model.geom_friction[geom, 0] * slope @ jacobian[:2] for slope in _SLOPES]
        if edges:
            forces = np.array(edges).T  # (nv, edges)
            system = np.concatenate((forces[:6], _EFFORT * np.eye(forces.shape[1])))
            share, _ = nnls(system, np.concatenate((torques[t, :6], np.zeros(forces.shape[1]))))
            torques[t] -= forces @ share
    torques[:, :6] = 0.0
    return torques


def _support(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> Array:
    """Where the floor can push a geom: the lower corners of a box, the ends of a capsule, the middle of anything else, (P, 3) m."""
    centre, turned, size = data.geom_xpos[geom], data.geom_xmat[geom].reshape(3, 3), model.geom_size[geom]
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX:
        arms = (_CORNERS * size) @ turned.T
        return centre + arms[arms[:, 2] < 0]
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
        return centre + np.outer([-size[1], size[1]], turned[:, 2])
    return centre[None]


def _round_geoms(model: mujoco.MjModel, but: list[int]) -> NDArray[np.int64]:
    """The spheres and capsules of the moving bodies, some left out."""
    kinds = (int(mujoco.mjtGeom.mjGEOM_SPHERE), int(mujoco.mjtGeom.mjGEOM_CAPSULE))
    found = [g for g in range(model.ngeom) if model.geom_bodyid[g] and model.geom_type[g] in kinds and g not in but]
    return np.array(found, dtype=np.int64)


def _touching(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> Array:
    """Where a sphere or a capsule touches the floor, (P, 3) m."""
    low = np.array([0.0, 0.0, -model.geom_size[geom, 0]])
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
        points = _support(model, data, geom) + low
    else:
        points = data.geom_xpos[geom][None] + low
    return points[points[:, 2] < _NEAR]
